"""Losses that a gradient scaler has scaled: what they were made of."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

from torch import Tensor


class Scaling:
    """The last loss that was scaled; its scale changes in place later."""

    def __init__(self) -> None:
        self.last: tuple[weakref.ref[Tensor], Tensor] | None = None
        """The scaled one, and what it was made of."""

    def scales(self, loss: Tensor, scaled: Tensor) -> None:
        """A scaler has made ``scaled`` of ``loss``."""
        self.last = (weakref.ref(scaled), loss.detach())

    def unscaled(self, losses: Sequence[Tensor]) -> Sequence[Tensor]:
        """The losses as they were before; the very same sequence where none was scaled."""
        if self.last is None:
            return losses
        scaled, loss = self.last[0](), self.last[1]
        if not any(each is scaled for each in losses):
            return losses
        return [loss if each is scaled else each for each in losses]
