"""The loss of every step."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from pytest_dlcheck.run.probe import Probe, ScalarBuffer, number_of
from pytest_dlcheck.run.scene import Scene
from pytest_dlcheck.trace import Series


class LossProbe(Probe[Scene]):
    """Fills ``loss``: per step, averaged over micro-batches and a generator's objectives."""

    channels = frozenset({"loss"})

    def __init__(self) -> None:
        self._buffer = ScalarBuffer()
        self.keep = self._buffer.append
        """Told ``(step, loss)``, where :func:`number_of` has been asked already."""
        self.keep_several = self._buffer.extend
        """The same of several at once."""

    def loss(self, step: int, loss: Tensor) -> None:
        """Keep the loss; reading it waits for nothing."""
        self._buffer.append(step, number_of(loss))

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
