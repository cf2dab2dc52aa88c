"""A model in the place of the trained one: it gets the gradients, and the optimizer steps the old one.

No judgement.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.tensors.sampled import sample_of
from pytest_dlcheck.run.watch.models.following import is_fresh
from pytest_dlcheck.run.watch.scene import census, parameters_of
from pytest_dlcheck.run.watch.steps.gradients import Gradients, Held
from pytest_dlcheck.run.watch.steps.lineage import are_descendants, descends, is_as_it_was
from pytest_dlcheck.run.watch.steps.of_nobody import of_nobody
from pytest_dlcheck.trace import Row

TWICE = 2
"""Looks at which its gradients must have come anew, and none to the old model."""
LATER = 4
"""A look is taken a quarter of the steps after the last one: it goes through all that lives."""


@dataclass
class _Successor:
    model: weakref.ref[nn.Module]
    is_heir: bool
    """Whether its weights go on from those of the old one, or are freshly drawn."""
    before: list[Tensor]
    gradients: list[Held | None] = field(default_factory=list)
    looks: int = 0
    is_held: bool = False
    keys: frozenset[int] = frozenset()
    rows: tuple[Row, ...] = ()
    """Of its parameters, told while they live: loops may drop them before a watch ends."""

    def look(self, model: nn.Module, held: set[int]) -> None:
        """Have gradients come since the last look, and does anybody step on them?"""
        parameters = list(model.parameters())
        gradients = [Held.of(p) for p in parameters]
        if self.gradients:
            pairs = zip(parameters, self.gradients, strict=True)
            self.looks += any(p.grad is not None and not (g and g.is_that_of(p)) for p, g in pairs)
        elif any(gradients):
            self.looks += 1
        self.gradients = gradients
        stays = all(map(is_as_it_was, parameters, self.before))
        self.is_held |= not stays or not held.isdisjoint(map(id, parameters))
        if self.looks == TWICE and not self.rows:
            self.keys = frozenset(map(id, parameters))
            self.rows = tuple(_rows(model))


class Successors:
    """Looks, where an optimizer's step comes without gradients, whether another model gets them.

    It is of the same type and shapes as the one that had them before, nothing holds or moves its
    parameters, and it is a copy of that one, or drawn anew.
    """

    def __init__(self) -> None:
        self._known: dict[int, _Successor] = {}
        self._next = 0
        self._take_turns = False
        """Whether the old model was reached again after another got gradients in its place."""

    def is_reached(self) -> None:
        """A backward has reached the model that the optimizer steps."""
        if self._known:
            self._known, self._take_turns = {}, True

    def look(self, step: int, model: nn.Module, gradients: Gradients) -> None:
        """The optimizer is about to step, and no backward has reached it since its last step.

        Args:
            step: which.
            model: that it trains.
            gradients: of it; where they were put there by another way, nothing is left behind.
        """
        if step < self._next or self._take_turns:
            return
        self._next = step + max(1, step // LATER)
        shapes = _shapes(model)
        modules, optimizers = census()
        others = (m for m in modules if type(m) is type(model) and m is not model)
        alike = (m for m in others if shapes is not None and _shapes(m) == shapes)
        heirs = [m for m in alike if any(p.grad is not None for p in m.parameters())]
        if not heirs or gradients.are_given():
            return
        held = {id(p) for each in optimizers for p in parameters_of(each)}
        for heir in heirs:
            self._of(heir, model).look(heir, held)

    def rows(self, stepped: set[int]) -> Iterator[Row]:
        """A row for each parameter of such models, as coverage has them.

        Args:
            stepped: what optimizers step, by identity.
        """
        for found in self._known.values():
            if found.is_heir and not found.is_held and stepped.isdisjoint(found.keys):
                yield from found.rows

    def _of(self, heir: nn.Module, model: nn.Module) -> _Successor:
        found = self._known.get(id(heir))
        if found is None or found.model() is not heir:
            pairs = zip(heir.parameters(), model.parameters(), strict=True)
            is_heir = are_descendants(descends(new, old) for new, old in pairs) or is_fresh(heir)
            before = [sample_of(p).clone() for p in heir.parameters()]
            found = self._known[id(heir)] = _Successor(weakref.ref(heir), is_heir, before)
        return found


def _rows(model: nn.Module) -> Iterator[Row]:
    named, kind = dict(model.named_parameters()), type(model).__name__
    for name, p in named.items():
        yield of_nobody(name, p, "another model", succeeds=kind, left=len(named))


def _shapes(model: nn.Module) -> Sequence[tuple[str, torch.Size]] | None:
    """Of its parameters, by name; None where some are not there yet."""
    named = list(model.named_parameters())
    return None if any(nn.parameter.is_lazy(p) for _, p in named) else [(n, p.shape) for n, p in named]
