"""The loss of every step."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from pytest_dlcheck.run.probe import Probe, ScalarBuffer
from pytest_dlcheck.trace import Series


class LossProbe(Probe):
    """Fills ``loss``: per step, averaged over micro-batches and a generator's objectives."""

    channels = frozenset({"loss"})

    def __init__(self) -> None:
        self._buffer = ScalarBuffer()

    def loss(self, step: int, loss: Tensor) -> None:
        """Keep the loss on its device."""
        self._buffer.append(step, loss.detach())

    def flush(self) -> None:
        """Read back."""
        self._buffer.flush()

    def so_far(self) -> Series:
        """What was recorded until now."""
        return self._buffer.series()

    def recent(self, count: int) -> list[float]:
        """The last losses that were read back, at most so many."""
        return self._buffer.recent(count)

    def filled(self) -> Mapping[str, Series]:
        """The loss."""
        return {"loss": self.so_far()}
