"""Which parameters get a gradient, and which optimizers know them?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.errors import CannotTellError, NotApplicableError
from pytest_dlcheck.run.experiment import Experiment
from pytest_dlcheck.run.modules.freshness import is_random_table, is_untrained
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.memory import twins_of
from pytest_dlcheck.trace import Row


class Coverage(Experiment):
    """Walks the graph of each loss to its leaves, and holds them against the optimizers' groups.

    Fills ``coverage``, one row per parameter of the model, the loss and the optimizers.
    """

    fact = "coverage"

    def run(self, rig: Rig) -> Iterable[Row]:
        """The rows."""
        frozen_before = {id(p) for p in rig.parameters.values() if not p.requires_grad}
        optimizers = list(rig.optimizers)
        try:
            found = rig.first.leaves()
        except CannotTellError:
            if not _all_frozen(optimizers):
                raise
            found = []
        reached = {id(leaf) for _, known in found for leaf in known}
        asked = [optimizer for optimizer, _ in found if optimizer is not None]
        order = rig.first.order
        optimizers += [o for o in asked if not any(o is known for known in optimizers)]
        if not optimizers:
            raise NotApplicableError("the recipe declares no optimizer")
        groups = [(i, g) for i, o in enumerate(optimizers) for g in o.param_groups]
        named = _named(rig, groups)
        twins = twins_of({name: p for name, (p, _) in named.items()})
        shared = not rig.objective.is_generator
        losses = [
            (i, {id(leaf) for leaf in leaves})
            for i, optimizer in enumerate(optimizers)
            for of, leaves in found
            if of is optimizer
        ]
        return [
            Row(
                name=name,
                module=name.rpartition(".")[0],
                owner=_owner(rig, name, origin),
                shape=str(tuple(p.shape)) if not nn.parameter.is_lazy(p) else "",
                numel=0 if nn.parameter.is_lazy(p) else p.numel(),
                origin=origin,
                requires_grad=id(p) not in frozen_before,
                gets_gradient=id(p) in reached,
                declared_frozen=rig.is_frozen(name),
                optimizers=len({i for i, group in groups if _holds(group, p)}),
                optimizer=next((i for i, group in groups if _holds(group, p)), None),
                asked=shared
                or any(_holds(group, p) and _is_in(optimizers[i], asked) for i, group in groups),
                one_loss=shared,
                held_by=_numbers(i for i, group in groups if _holds(group, p)),
                stepped_by=_numbers(
                    i
                    for i, leaves in losses
                    if id(p) in leaves and any(k == i and _holds(group, p) for k, group in groups)
                ),
                order=_order(name, order) if origin == "model" else None,
                layer=origin == "model"
                and name.rpartition(".")[0] in order
                and _is_layer(rig.model, name),
                untrained=is_untrained(p),
                memory_of=twins.get(name),
                random_table=origin == "model" and _is_random_table(rig, name, p),
            )
            for name, (p, origin) in named.items()
        ]


def _is_random_table(rig: Rig, name: str, parameter: Tensor) -> bool:
    """Whether it is a frozen embedding of random numbers that is no copy of one that trains."""
    if parameter.requires_grad or not isinstance(
        rig.model.get_submodule(name.rpartition(".")[0]), nn.Embedding
    ):
        return False
    others = [p for p in rig.model.parameters() if p is not parameter and p.shape == parameter.shape]
    near = (p for p in others if p.device == parameter.device)
    return is_random_table(parameter) and not any(torch.equal(p, parameter) for p in near)


def _numbers(found: Iterable[int]) -> str:
    """Numbers of optimizers in one text: ``"0 2"``."""
    return " ".join(map(str, sorted(set(found))))


def _named(rig: Rig, groups: list[tuple[int, dict[str, Any]]]) -> dict[str, tuple[Tensor, str]]:
    own = {id(p) for p in rig.model.parameters()}
    lossy = {id(p) for p in rig.loss_module.parameters()} if rig.loss_module is not None else set()
    named: dict[str, tuple[Tensor, str]] = {
        name: (p, "model" if id(p) in own else "loss" if id(p) in lossy else "optimizer")
        for name, p in rig.parameters.items()
    }
    known = {id(p) for p, _ in named.values()}
    for i, group in groups:
        for k, parameter in enumerate(group["params"]):
            if id(parameter) not in known:
                known.add(id(parameter))
                named[f"optimizer[{i}].params[{k}]"] = (parameter, "optimizer")
    return named


def _owner(rig: Rig, name: str, origin: str) -> str:
    """The kind of the module that holds it; empty where none does."""
    if origin != "model":
        return ""
    return type(rig.model.get_submodule(name.rpartition(".")[0])).__name__


def _holds(group: dict[str, Any], parameter: Tensor) -> bool:
    return any(p is parameter for p in group["params"])


def _is_in(optimizer: Any, asked: list[Any]) -> bool:
    return any(optimizer is other for other in asked)


def _order(name: str, order: dict[str, int]) -> int:
    """When its module is first called: its own call, or that of the nearest module around it."""
    while name:
        name = name.rpartition(".")[0]
        if name in order:
            return order[name]
    return 0


def _is_layer(model: nn.Module, name: str) -> bool:
    """Whether it belongs to one of torch's own layers, embeddings (often fixed tables) aside."""
    owner = model.get_submodule(name.rpartition(".")[0])
    return type(owner).__module__.startswith("torch.") and not isinstance(owner, nn.Embedding)


def _all_frozen(optimizers: list[Any]) -> bool:
    parameters = [p for o in optimizers for group in o.param_groups for p in group["params"]]
    return bool(parameters) and not any(p.requires_grad for p in parameters)
