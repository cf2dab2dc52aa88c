"""Hears what a gradient scaler scales and unscales.

Wrapped, because a scaler has no hooks: what ``backward`` sees is the scaled loss, whose scale changes
in place later. A step that it skips is never seen by the optimizer, and so by nobody.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from pytest_dlcheck.run.watch.listener import Listener
from pytest_dlcheck.run.watch.replacing import replaced


@contextmanager
def tapped(listener: Listener) -> Iterator[None]:
    """Listen."""
    scale, unscale_ = GradScaler.scale, GradScaler.unscale_

    @functools.wraps(scale)
    def heard_scale(self: GradScaler, outputs: Any) -> Any:
        scaled = scale(self, outputs)
        if isinstance(outputs, Tensor):
            listener.loss_is_scaled(outputs, scaled)
        return scaled

    @functools.wraps(unscale_)
    def heard_unscale(self: GradScaler, optimizer: Any) -> None:
        unscale_(self, optimizer)
        listener.gradients_are_unscaled(optimizer)

    with (
        replaced(GradScaler, "scale", heard_scale),
        replaced(GradScaler, "unscale_", heard_unscale),
    ):
        yield
