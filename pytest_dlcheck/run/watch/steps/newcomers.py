"""Parameters that a model has got since its optimizer first stepped, and that it does not step."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.modules.walking import modules_of
from pytest_dlcheck.run.sampling import TENSORS, Due
from pytest_dlcheck.run.tensors.norms import norms
from pytest_dlcheck.run.tensors.sampled import sample_of
from pytest_dlcheck.run.watch.scene import census, parameters_of
from pytest_dlcheck.run.watch.steps.gradients import Held
from pytest_dlcheck.run.watch.steps.lineage import descends, is_as_it_was
from pytest_dlcheck.run.watch.steps.of_nobody import of_nobody
from pytest_dlcheck.trace import Row

TWICE = 2
"""Looks at which a gradient must have come anew."""


@dataclass
class _Newcomer:
    parameter: weakref.ref[nn.Parameter]
    before: Tensor
    row: Row
    gradient: Held | None = None
    looks: int = 0
    is_held: bool = False
    """Whether some optimizer holds it, or something has moved it."""

    def look(self, parameter: nn.Parameter, held: set[int]) -> None:
        """At a step: has a gradient come since the last look, and does anybody care?"""
        gradient = Held.of(parameter)
        if gradient is not None and (self.gradient is None or not self.gradient.is_that_of(parameter)):
            self.looks += parameter.grad is not None and bool(norms([parameter.grad])[0])
        self.gradient = gradient
        self.is_held |= id(parameter) in held or not is_as_it_was(parameter, self.before)


class Newcomers:
    """Looks at a few steps of one optimizer whether the model still has the parameters of its beginning.

    A module that was replaced brings new ones. Where backward reaches them, no living optimizer holds
    them and nothing moves them, they do not train.

    Args:
        model: what is trained, as the optimizer steps for the first time.
    """

    def __init__(self, model: nn.Module) -> None:
        self._names = {id(p): name for name, p in model.named_parameters()}
        self._is_due = Due(TENSORS)
        self._found: dict[int, _Newcomer] = {}
        self._left = 0

    def look(self, step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """The optimizer is about to step."""
        if step and self._is_due(step) and self._has_others(model):
            named = dict(model.named_parameters())
            fresh = ((name, p) for name, p in named.items() if id(p) not in self._names)
            new = {name: p for name, p in fresh if p.requires_grad and not nn.parameter.is_lazy(p)}
            if new:
                self._look(named, new, optimizer)

    def _has_others(self, model: nn.Module) -> bool:
        names = self._names
        for module in modules_of(model):
            for p in module._parameters.values():  # noqa: SLF001  quick
                if p is not None and id(p) not in names:
                    return True
        return False

    def rows(self, stepped: set[int]) -> Iterator[Row]:
        """A row for each that nobody steps, as coverage has them.

        Args:
            stepped: what optimizers step, by identity.
        """
        for key, found in self._found.items():
            if found.looks >= TWICE and not found.is_held and key not in stepped:
                yield Row(found.row, left=self._left)

    def _look(
        self,
        named: dict[str, nn.Parameter],
        new: dict[str, nn.Parameter],
        optimizer: torch.optim.Optimizer,
    ) -> None:
        own = list(parameters_of(optimizer))
        held = {id(p) for p in own}
        if not held.issuperset(map(id, new.values())):
            held.update(id(p) for each in census()[1] for p in parameters_of(each))
        for name, parameter in new.items():
            found = self._found.get(id(parameter))
            if found is None or found.parameter() is not parameter:
                before, row = sample_of(parameter).clone(), self._row(name, parameter, own, named)
                found = _Newcomer(weakref.ref(parameter), before, row)
                self._found[id(parameter)] = found
            found.look(parameter, held)
        living = {id(p) for p in named.values()}
        self._left = sum(id(p) in self._names and id(p) not in living for p in own)

    def _row(
        self,
        name: str,
        parameter: nn.Parameter,
        own: Sequence[nn.Parameter],
        named: Mapping[str, nn.Parameter],
    ) -> Row:
        living = {id(p) for p in named.values()}
        was = next((p for p in own if id(p) not in living and self._names.get(id(p)) == name), None)
        goes_on = None if was is None or _is_reached(was) else descends(parameter, was)
        replaces = name in self._names.values()
        return of_nobody(name, parameter, "model", came_late=True, replaces=replaces, goes_on=goes_on)


def _is_reached(parameter: nn.Parameter) -> bool:
    """Whether it has a gradient; reads the device."""
    return parameter.grad is not None and bool(parameter.grad.any())
