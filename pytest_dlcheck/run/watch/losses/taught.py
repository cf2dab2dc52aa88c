"""Whose parameters a loss reaches only through what it compares with: a teacher that is trained along.

Read from the graphs of a few losses after an optimizer begins. It calls nothing of the loop's.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from pytest_dlcheck.run.losses.graphs.sides import Comparison, Edge, comparisons, leaves
from pytest_dlcheck.run.modules.freshness import is_fresh_draw

LOOKS = (3, 4, 16, 17)
"""Backward passes, two in a row, after an optimizer's beginning, whose losses are looked into."""
BEGINNINGS = 8
"""Optimizers after whose beginning that is done."""
FEWEST = 2
"""Weight matrices that make a network: one alone may be a table of centres, or a projection."""
TWICE = 2
"""Looks at which it must have been so."""
NUMBERS = 4096
"""Numbers of a weight matrix that are kept as they were before an optimizer's first step."""
MATRICES = 512
"""Weight matrices of an optimizer of which that is done: its first ones."""


@dataclass(frozen=True)
class _Draw:
    """Some numbers of a weight matrix before an optimizer's first step."""

    matrix: weakref.ref[Tensor]
    values: Tensor

    @classmethod
    def of(cls, matrix: Tensor) -> _Draw:
        flat = matrix.detach().flatten()
        return cls(weakref.ref(matrix), flat[:: flat.numel() // NUMBERS + 1].clone())


class Taught:
    """Teachers in their student's optimizer, as they become known."""

    def __init__(self) -> None:
        self._dues: list[int] = []
        self._begun = 0
        self._found: dict[int, tuple[weakref.ref[Tensor], int]] = {}
        self._otherwise: set[int] = set()
        self._earlier: set[int] = set()
        self._draws: dict[int, _Draw] = {}
        self._stepped: set[int] = set()

    def optimizer_begins(
        self, backwards: int, parameters: Sequence[Tensor], stepped: Sequence[set[int]]
    ) -> None:
        """An optimizer is about to take its first step: what was before is another training.

        Args:
            backwards: how many there were.
            parameters: the optimizer's.
            stepped: the parameters of optimizers that have taken many steps.
        """
        self._begun += 1
        if self._begun > BEGINNINGS:
            return
        self._earlier, self._stepped = self.parameters(), set().union(*stepped)
        self._found, self._otherwise = {}, set()
        self._dues = sorted({*self._dues, *(backwards + look for look in LOOKS)})
        matrices = [p for p in parameters if p.dim() > 1 and not nn.parameter.is_lazy(p)]
        self._draws |= {id(p): _Draw.of(p) for p in matrices[:MATRICES]}

    def following(self, number: int) -> int:
        """The number of the first backward from here on that is looked at."""
        return next((due for due in self._dues if due >= number), sys.maxsize)

    def is_due(self, number: int) -> bool:
        """Whether this backward is looked at."""
        return number in self._dues

    def look(self, losses: Sequence[Tensor], stepped: Sequence[set[int]]) -> None:
        """What one backward's loss reaches through its targets alone.

        Args:
            losses: what it is called on.
            stepped: the parameters of each optimizer, by identity.
        """
        roots = [loss.grad_fn for loss in losses if loss.grad_fn is not None]
        whole = leaves(roots)
        found = [c for root in roots for c in comparisons(root)] if whole else []
        targets = {edge for comparison in found for edge in self._targets(comparison)}
        rest = leaves(roots, without=targets) if targets and whole is not None else whole
        if whole is None or rest is None:
            return
        self._otherwise |= rest.keys()
        teacher = {key: p for key, p in whole.items() if key not in rest}
        beside = any(teacher.keys() <= keys and rest.keys() & keys for keys in stepped)
        if beside and self._is_trained(teacher, rest):
            for key, parameter in teacher.items():
                looks = self._found.get(key, (None, 0))[1]
                self._found[key] = weakref.ref(parameter), looks + 1

    def _targets(self, comparison: Comparison) -> set[Edge]:
        """The edges to the targets; of two sides that are alike, to that which alone is trained."""
        if comparison.sides is None:
            return comparison.targets
        one, other = (leaves([side]) for side in comparison.sides)
        if one is None or other is None:
            return set()
        first = {key: p for key, p in one.items() if key not in other}
        second = {key: p for key, p in other.items() if key not in one}
        edges = sorted(comparison.targets, key=lambda edge: edge[1])
        if self._is_trained(first, second) and self._is_fresh(second):
            return {edges[0]}
        return {edges[1]} if self._is_trained(second, first) and self._is_fresh(first) else set()

    def _is_trained(self, parameters: dict[int, Tensor], others: dict[int, Tensor]) -> bool:
        """Whether this network was trained before, and not with the others, if it can be told."""
        weights = [p for p in parameters.values() if p.dim() > 1]
        if len(weights) < FEWEST:
            return False
        if parameters.keys() & self._stepped:
            return parameters.keys() <= self._stepped and not others.keys() <= self._stepped
        drawn = [self._is_drawn(p) for p in weights]
        return False in drawn and True not in drawn

    def _is_fresh(self, parameters: dict[int, Tensor]) -> bool:
        drawn = [self._is_drawn(p) for p in parameters.values() if p.dim() > 1]
        return not parameters.keys() & self._stepped and True in drawn and False not in drawn

    def _is_drawn(self, matrix: Tensor) -> bool | None:
        draw = self._draws.get(id(matrix))
        if draw is None or draw.matrix() is not matrix:
            return None
        return is_fresh_draw(draw.values, matrix.shape)

    def parameters(self) -> set[int]:
        """Those of teachers that are trained along with their students, by identity."""
        often = {key for key, (_, looks) in self._found.items() if looks >= TWICE}
        return self._earlier | (often - self._otherwise)
