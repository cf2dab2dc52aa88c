"""Whose parameters an optimizer steps: the root module that owns them, found and given names."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Groups:
    """The parameter groups of an optimizer as they were when it began, without the optimizer."""

    param_groups: list[dict[str, Any]]
    name: str


@dataclass(frozen=True)
class Scene:
    """What an optimizer trains.

    Attributes:
        model: the root module; an empty one where the parameters belong to none.
        parameters: the root's parameters and the optimizer's others, by name.
        optimizers: the optimizer's groups.
    """

    model: nn.Module
    parameters: dict[str, nn.Parameter]
    optimizers: list[Groups]

    def is_frozen(self, name: str) -> bool:
        """Nothing is declared frozen in a loop that is only watched."""
        del name
        return False


def scene_of(optimizer: torch.optim.Optimizer, modules: Sequence[nn.Module]) -> Scene:
    """Find what the optimizer trains, among all living modules."""
    stepped = list(parameters_of(optimizer))
    root = root_of({id(p) for p in stepped}, modules)
    named = dict(root.named_parameters())
    known = {id(p) for p in named.values()}
    for g, group in enumerate(optimizer.param_groups):
        for k, parameter in enumerate(group["params"]):
            if id(parameter) not in known:
                named[f"param_groups[{g}][{k}]"] = parameter
    groups = [{**group, "params": list(group["params"])} for group in optimizer.param_groups]
    return Scene(root, named, [Groups(groups, type(optimizer).__name__)])


def parameters_of(optimizer: torch.optim.Optimizer) -> Iterator[nn.Parameter]:
    """All parameters of an optimizer."""
    for group in optimizer.param_groups:
        yield from group["params"]


def root_of(parameters: set[int], modules: Sequence[nn.Module]) -> nn.Module:
    """The module that no other contains and that owns most of these parameters, by identity.

    Looked for among all living objects: the modules that a forward passes through need not be the
    whole of what an optimizer steps.
    """
    parents: dict[int, nn.Module] = {}
    for module in modules:
        for child in module._modules.values():  # noqa: SLF001  named_children leaves out repeats
            if child is not None:
                parents.setdefault(id(child), module)
    owners = [m for m in modules if any(id(p) in parameters for p in _own(m))]
    roots = {id(root): root for root in (_top(module, parents) for module in owners)}
    if not roots:
        return nn.Module()

    def owned(root: nn.Module) -> int:
        return sum(id(p) in parameters for p in root.parameters())

    return max(roots.values(), key=owned)


def census() -> tuple[list[nn.Module], list[torch.optim.Optimizer]]:
    """All living modules and optimizers, found by their type: asking them would run foreign code."""
    modules, optimizers = _subclasses(nn.Module), _subclasses(torch.optim.Optimizer)
    either = modules | optimizers
    found = [thing for thing in gc.get_objects() if type(thing) in either]
    return (
        [thing for thing in found if type(thing) in modules and "_parameters" in thing.__dict__],
        [thing for thing in found if type(thing) in optimizers],
    )


def _subclasses(kind: type) -> set[type]:
    found, waiting = {kind}, [kind]
    while waiting:
        fresh: set[type] = set(type.__subclasses__(waiting.pop())) - found
        found |= fresh
        waiting += fresh
    return found


def _own(module: nn.Module) -> Iterable[nn.Parameter]:
    return (p for p in module._parameters.values() if p is not None)  # noqa: SLF001  without recursion


def _top(module: nn.Module, parents: dict[int, nn.Module]) -> nn.Module:
    seen = set()
    while id(module) in parents and id(module) not in seen:
        seen.add(id(module))
        module = parents[id(module)]
    return module
