"""Hears the steps of learning rate schedulers.

Wrapped, because schedulers have no hooks. Those that write a ``step`` of their own, such as
``ReduceLROnPlateau``, are not heard.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.optim.lr_scheduler import LRScheduler

from pytest_dlcheck.run.watch.listener import Listener
from pytest_dlcheck.run.watch.replacing import replaced


@contextmanager
def tapped(listener: Listener) -> Iterator[None]:
    """Listen; the step that a scheduler makes of itself when it is built is none."""
    original = LRScheduler.step

    @functools.wraps(original)
    def step(self: LRScheduler, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        if not getattr(self, "_is_initial", False):
            listener.schedule_steps(self)

    with replaced(LRScheduler, "step", step):
        yield
