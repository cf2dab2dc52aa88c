"""Hears the steps of learning rate schedulers.

Wrapped, because schedulers have no hooks. Of those that write a ``step`` of their own, torch's are
heard; what happens inside of one that is made of others is a part of it. ``ReduceLROnPlateau`` is heard
by itself, with the number that it is told.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch.optim.lr_scheduler import (
    ChainedScheduler,
    CosineAnnealingWarmRestarts,
    LRScheduler,
    ReduceLROnPlateau,
    SequentialLR,
)

from pytest_dlcheck.run.watch.listener import Listener
from pytest_dlcheck.run.watch.replacing import replaced


@contextmanager
def tapped(listener: Listener) -> Iterator[None]:
    """Listen; the step that a scheduler makes of itself when it is built is none."""
    inside = threading.local()

    def heard(original: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(original)
        def step(self: LRScheduler, *args: Any, **kwargs: Any) -> None:
            is_part, inside.step = getattr(inside, "step", False), True
            try:
                original(self, *args, **kwargs)
            finally:
                inside.step = is_part
            if is_part:
                return
            epoch = args[0] if args else kwargs.get("epoch")
            if epoch is None and _has_just_been_built(self):
                listener.schedule_is_built(self)
            else:
                listener.schedule_steps(self, is_named=epoch is not None)

        return step

    plateau_step, plateau_init = ReduceLROnPlateau.step, ReduceLROnPlateau.__init__

    @functools.wraps(plateau_step)
    def told(self: ReduceLROnPlateau, metrics: Any, *args: Any, **kwargs: Any) -> None:
        plateau_step(self, metrics, *args, **kwargs)
        listener.plateau_steps(self, metrics)

    @functools.wraps(plateau_init)
    def built(self: ReduceLROnPlateau, *args: Any, **kwargs: Any) -> None:
        plateau_init(self, *args, **kwargs)
        listener.schedule_is_built(self)

    with ExitStack() as stack:
        stack.enter_context(replaced(ReduceLROnPlateau, "__init__", built))
        stack.enter_context(replaced(ReduceLROnPlateau, "step", told))
        for kind in (LRScheduler, SequentialLR, ChainedScheduler, CosineAnnealingWarmRestarts):
            stack.enter_context(replaced(kind, "step", heard(kind.step)))
        yield


def _has_just_been_built(scheduler: LRScheduler) -> bool:
    """Whether its only step until now is the one that it makes of itself: that counts as the first."""
    if isinstance(scheduler, CosineAnnealingWarmRestarts):  # counts none
        return scheduler.last_epoch == 0
    return getattr(scheduler, "_step_count", 0) == 1
