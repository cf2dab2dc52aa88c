"""Optimizers that never step, over models on whose detached results another is trained. No judgement."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from pytest_dlcheck.run.modules.freshness import is_untrained
from pytest_dlcheck.run.watch.models.flows import Flow, Flows
from pytest_dlcheck.run.watch.models.following import Sample
from pytest_dlcheck.run.watch.scene import parameters_of

TWICE = 2
"""Looks at which it must have been so."""


@dataclass
class _Idle:
    optimizer: str
    model: weakref.ref[nn.Module]
    name: str
    keys: set[int]
    before: Sample
    looks: int = 0
    moved: bool = False

    def look(self) -> None:
        """Whether something else has moved it."""
        model = self.model()
        self.moved |= model is not None and not self.before.equals(model)


class Unstepped:
    """A generator whose turn never comes: no backward reaches it, and no step.

    Its optimizer has no state, its weights are as they were drawn as far as that can be told, and what
    is given its results is given data of the same shape as well. Features that are extracted are not.

    Args:
        flows: where the results of calls went.
    """

    def __init__(self, flows: Flows) -> None:
        self._flows = flows
        self._found: dict[int, _Idle] = {}

    def look(self, stepped: set[int], optimizers: Callable[[], Iterable[torch.optim.Optimizer]]) -> None:
        """Look for such models, and whether they have an optimizer.

        Args:
            stepped: the parameters that optimizers have stepped, by identity.
            optimizers: finds all that live, which takes a while.
        """
        for idle in self._found.values():
            idle.look()
        waiting = list(self._waiting(stepped))
        for optimizer in optimizers() if waiting else ():
            keys = {id(p) for p in parameters_of(optimizer)}
            for model in waiting:
                if not optimizer.state and keys & {id(p) for p in model.parameters()}:
                    self._note(optimizer, keys, model)

    def names(self, stepped: set[int]) -> list[str]:
        """The optimizers, each with its model, that nothing ever stepped."""
        for idle in self._found.values():
            idle.look()
        found = (each for each in self._found.values() if each.looks >= TWICE and not each.moved)
        return [f"{each.optimizer} over {each.name}" for each in found if not each.keys & stepped]

    def _waiting(self, stepped: set[int]) -> Iterator[nn.Module]:
        for flow in self._flows.handed_on():
            model = flow.module()
            if model is None or any(id(p) in stepped for p in model.parameters()):
                continue
            untrained = [is_untrained(p) for p in model.parameters()]
            if False not in untrained and self._is_trained_against(flow, stepped):
                yield model

    def _is_trained_against(self, flow: Flow, stepped: set[int]) -> bool:
        """Whether somebody learns to tell its results from data."""
        return any(
            self._flows.is_given_data_like(flow, module)
            and any(id(p) in stepped for p in module.parameters())
            for module in flow.into()
        )

    def _note(self, optimizer: torch.optim.Optimizer, keys: set[int], model: nn.Module) -> None:
        idle = self._found.get(id(model))
        if idle is None or idle.model() is not model:
            who, name = weakref.ref(model), type(model).__name__
            idle = _Idle(type(optimizer).__name__, who, name, keys, Sample.of(model))
            self._found[id(model)] = idle
        idle.looks += 1
