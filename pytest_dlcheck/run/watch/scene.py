"""Whose parameters an optimizer steps: the root module that owns them, found and given names."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
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
        beside: other modules that are called and whose parameters it steps, by the name that these have.
    """

    model: nn.Module
    parameters: dict[str, nn.Parameter]
    optimizers: list[Groups]
    beside: dict[str, nn.Module] = field(default_factory=dict)

    def is_frozen(self, name: str) -> bool:
        """Nothing is declared frozen in a loop that is only watched."""
        del name
        return False


def scene_of(
    optimizer: torch.optim.Optimizer, modules: Sequence[nn.Module], called: Sequence[nn.Module] = ()
) -> Scene:
    """Find what the optimizer trains.

    Args:
        optimizer: which.
        modules: among which its root is.
        called: modules that were called; what belongs to one of them is named by it.
    """
    stepped = list(parameters_of(optimizer))
    root = root_of({id(p) for p in stepped}, modules)
    named = dict(root.named_parameters())
    known = {id(p) for p in named.values()}
    beside = _beside(root, {id(p) for p in stepped} - known, called)
    for name, module in beside.items():
        own = _owned(module, {id(p) for p in stepped} - known)
        others = {n: p for n, p in module.named_parameters() if id(p) in own}
        named.update({f"{name}.{n}": p for n, p in others.items()})
        known.update(map(id, others.values()))
    for g, group in enumerate(optimizer.param_groups):
        for k, parameter in enumerate(group["params"]):
            if id(parameter) not in known:
                named[f"param_groups[{g}][{k}]"] = parameter
    groups = [{**group, "params": list(group["params"])} for group in optimizer.param_groups]
    return Scene(root, named, [Groups(groups, type(optimizer).__name__)], beside)


def _beside(root: nn.Module, left: set[int], called: Sequence[nn.Module]) -> dict[str, nn.Module]:
    """The modules that own what a root does not: the one with most of it first, each by its own name."""
    found: dict[str, nn.Module] = {}
    while left:
        owned = {id(module): _owned(module, left) for module in called if module is not root}
        module = max(called, key=lambda one: len(owned.get(id(one), ())), default=root)
        if not owned.get(id(module)):
            return found
        kind = type(module).__name__
        taken = sum(type(each).__name__ == kind for each in (root, *found.values()))
        found[f"{kind}({taken + 1})" if taken else kind] = module
        left = left - owned[id(module)]
    return found


def _owned(module: nn.Module, parameters: set[int]) -> set[int]:
    return {id(p) for p in module.parameters()} & parameters


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
