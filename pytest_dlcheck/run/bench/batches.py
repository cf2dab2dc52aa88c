"""Batches prepared before the time is taken, of the size that is asked for. Nothing is timed here."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any

import torch

from pytest_dlcheck.run.bench.memory import size_of
from pytest_dlcheck.run.errors import NotApplicableError
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.stream import ExhaustedError
from pytest_dlcheck.run.tensors.tree import batch_size, copied, shape_text, take, tensors

PREPARED = 4
"""Batches that are cycled through: enough that a step does not find its inputs in the caches."""


class Prepared:
    """Batches on the device.

    Args:
        rig: whose batches they are.
        size: samples of each; None for as many as the data gives.

    Raises:
        NotApplicableError: batches cannot be taken apart into samples, so that no size can be asked for.
    """

    def __init__(self, rig: Rig, size: int | None) -> None:
        self._batches = _whole(rig) if size is None else [sized(rig, b, size) for b in _whole(rig)]
        self._next = cycle(self._batches)
        dim = rig.recipe.batch_dim
        self.samples = None if dim is None else batch_size(self._batches[0], dim)
        """Samples of each; None where samples do not stand alone."""
        alike = len({shape_text(batch) for batch in self._batches}) == 1
        self.cycle = 1 if alike else len(self._batches)
        """Steps that belong together, because their batches differ in shape."""

    def __len__(self) -> int:
        return len(self._batches)

    def next(self) -> Any:
        """The next one, over and over."""
        return next(self._next)

    @property
    def spare(self) -> int:
        """Bytes of those beyond the largest."""
        sizes = [size_of([batch]) for batch in self._batches]
        return sum(sizes) - max(sizes)

    def are_spared_by(self, step: Callable[[], object]) -> bool:
        """Whether a step leaves its batch as it was, so that it needs no copy of it."""
        probe, usual = copied(self._batches[0]), self._next
        before, self._next = versions(probe), cycle([probe])
        step()
        self._next = usual
        return versions(probe) == before


def sized(rig: Rig, batch: Any, size: int) -> Any:
    """A batch of that size, of the samples of another one, which repeat where there are too few.

    Raises:
        NotApplicableError: batches cannot be taken apart into samples.
    """
    dim = rig.recipe.batch_dim
    given = None if dim is None else batch_size(batch, dim)
    if dim is None or not given:
        raise NotApplicableError(
            f"batch_size={size} cannot be timed: samples do not stand alone (batch_dim=None)"
        )
    return take(batch, torch.arange(size) % given, dim)


def _whole(rig: Rig) -> list[Any]:
    """The first batches, but none that the end of the data has left smaller."""
    found = [copied(rig.next_batch())]
    size = batch_size(found[0], rig.recipe.batch_dim or 0)
    for _ in range(PREPARED - 1):
        try:
            batch = copied(rig.next_batch())
        except ExhaustedError:
            break
        if batch_size(batch, rig.recipe.batch_dim or 0) == size:
            found.append(batch)
    return found


def versions(tree: Any) -> list[int]:
    """How often each tensor of a nest was changed in place."""
    return [tensor._version for tensor in tensors(tree)]  # noqa: SLF001  how autograd itself tells
