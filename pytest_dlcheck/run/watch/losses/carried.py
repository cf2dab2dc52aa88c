"""States that a model gives for one batch and is given for the next, of a loader that shuffles.

Samples in random order have nothing to do with those that stood in their places in the batch before.
No judgement.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pytest_dlcheck.run.watch.batches.loading import shuffles

LARGEST = 1 << 22
"""Bytes behind a state up to which it is kept until the next call."""


class Carried:
    """What a model gave last, held against what it is given besides its inputs."""

    def __init__(self) -> None:
        self._given: list[tuple[Tensor, int]] = []
        self._own: set[int] = set()
        self._is_new = False
        self.found = ""
        """The shape of a state that was carried into another batch, since it was last asked."""

    def batch_is_read(self, reading: object) -> None:
        """A loader's iterator has given a batch."""
        self._is_new = shuffles(reading)

    def is_called(self, inputs: Sequence[Tensor]) -> None:
        """A model is called: on a batch, and what else it is given."""
        if self._is_new and len(inputs) > 1 and inputs[0].dim():
            samples = len(inputs[0])
            states = [each for each in inputs[1:] if samples in each.shape[:2] and self._gave(each)]
            if states:
                self.found = str(list(states[0].shape))
        self._is_new = False
        self._given = []
        self._own = {each.data_ptr() for each in inputs if each.layout == torch.strided}

    def gives(self, outputs: Sequence[Tensor]) -> None:
        """What it gives: the first is its answer, the others may be states; not what it was given."""
        self._given = [
            (each.detach(), each._version)  # noqa: SLF001  public only by name
            for each in outputs[1:]
            if each.layout == torch.strided
            and not each.is_inference()
            and 0 < each.untyped_storage().nbytes() <= LARGEST
            and each.data_ptr() not in self._own
        ]

    def forget(self) -> None:
        """Nobody looks for some time."""
        self._given = []

    def _gave(self, state: Tensor) -> bool:
        """Whether these are the very numbers, at one place in memory and never written to since."""
        return state.layout == torch.strided and any(
            state.shape == each.shape
            and state.data_ptr() == each.data_ptr()
            and each._version == version  # noqa: SLF001  as above
            for each, version in self._given
        )

    def taken(self) -> str:
        """What was found since the last time; empty for nothing."""
        found, self.found = self.found, ""
        return found
