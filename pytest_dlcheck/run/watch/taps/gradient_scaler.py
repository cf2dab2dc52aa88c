"""Hears what a gradient scaler scales and steps.

Wrapped, because a scaler has no hooks: what ``backward`` sees is the scaled loss, whose scale changes
in place later, and a step that it skips is never seen by the optimizer.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from pytest_dlcheck.run.watch.listener import Listener


@contextmanager
def tapped(listener: Listener) -> Iterator[None]:
    """Listen."""
    scale, unscale_, step = GradScaler.scale, GradScaler.unscale_, GradScaler.step

    @functools.wraps(scale)
    def heard_scale(self: GradScaler, outputs: Any) -> Any:
        scaled = scale(self, outputs)
        if isinstance(outputs, Tensor):
            listener.loss_is_scaled(outputs, scaled)
        return scaled

    @functools.wraps(step)
    def heard_step(self: GradScaler, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        listener.step_is_offered(optimizer)
        return step(self, optimizer, *args, **kwargs)

    @functools.wraps(unscale_)
    def heard_unscale(self: GradScaler, optimizer: Any) -> None:
        unscale_(self, optimizer)
        listener.gradients_are_unscaled(optimizer)

    GradScaler.scale, GradScaler.step = heard_scale, heard_step  # type: ignore[method-assign]
    GradScaler.unscale_ = heard_unscale  # type: ignore[method-assign]
    try:
        yield
    finally:
        if GradScaler.unscale_ is heard_unscale:
            GradScaler.unscale_ = unscale_  # type: ignore[method-assign]
        if GradScaler.scale is heard_scale:
            GradScaler.scale = scale  # type: ignore[method-assign]
        if GradScaler.step is heard_step:
            GradScaler.step = step  # type: ignore[method-assign]
