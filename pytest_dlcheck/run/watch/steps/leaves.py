"""The parameters that a backward reaches, while no optimizer is known: are they changed by hand?"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from itertools import islice

import torch
from torch import Tensor

from pytest_dlcheck.run.tensors.graph import roots, variables, walk
from pytest_dlcheck.run.tensors.sampled import sample_of

NODES = 5_000
"""Nodes of the graph that are looked at."""
LEAVES = 8
"""Parameters that are compared."""


class Leaves:
    """Samples of what the first backward reaches, compared later."""

    def __init__(self) -> None:
        self._kept: list[tuple[weakref.ref[Tensor], Tensor]] | None = None
        self.have_changed = False
        """Whether they moved although no optimizer stepped."""

    def of(self, losses: Sequence[Tensor]) -> bool:
        """Keep what the first backward reaches; returns whether it has moved since the last one."""
        if self._kept is None:
            found = list(leaves_of(losses))[:LEAVES]
            self._kept = [(weakref.ref(leaf), sample_of(leaf).clone()) for leaf in found]
            return False
        return self._compare()

    def close(self) -> None:
        """Look once more, and let go."""
        self._compare()
        self._kept = []

    def _compare(self) -> bool:
        moved = False
        for index, (reference, before) in enumerate(self._kept or ()):
            leaf = reference()
            if leaf is not None and self._kept and not torch.equal(sample_of(leaf), before):
                self._kept[index] = (reference, sample_of(leaf).clone())
                moved = True
        self.have_changed |= moved
        return moved


def leaves_of(losses: Sequence[Tensor]) -> list[Tensor]:
    """The tensors that a backward leaves gradients in."""
    return list(variables(islice(walk(roots(losses)), NODES)))
