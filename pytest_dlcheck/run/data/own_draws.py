"""Random number generators that a data set or a model keeps for itself, found by looking, put back."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from types import FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

_DEEPEST = 6
_NODES = 2_000
_ELEMENTS = 32
"""Elements looked at of a list, tuple or dict: transforms are few, samples many."""
_OPAQUE = (bool, int, float, complex, str, bytes, type(None), Tensor, ModuleType, type)

_OF_ANY_MODULE = frozenset(vars(nn.Module()))
"""Attributes that every module has: none of them draws."""

Restore = Callable[[], object]


def generators(root: Any) -> dict[str, Any]:
    """Every generator within reach: attributes, elements, closures, globals that methods name.

    Returns:
        The generators by where they were found, for example ``dataset.transform.rng``. The global
        ones of python, numpy and torch are not among them.
    """
    found: dict[str, Any] = {}
    seen: set[int] = {id(random), id(torch.default_generator), id(_inst(random.random))}
    waiting: list[tuple[str, Any, int]] = [("", root, 0)]
    for _ in range(_NODES):
        if not waiting:
            break
        path, node, depth = waiting.pop(0)
        if id(node) in seen or isinstance(node, _OPAQUE):
            continue
        seen.add(id(node))
        if _state(node) is not None:
            found[path] = node
        elif depth < _DEEPEST:
            waiting += [(f"{path}.{n}".lstrip("."), part, depth + 1) for n, part in _parts(node)]
    return found


@contextmanager
def kept(*roots: Any, reseed: int | None = None) -> Iterator[None]:
    """Put every generator within reach back as it was, so that reading leaves no trace.

    Args:
        roots: where to look for them.
        reseed: what they are seeded with meanwhile; None to let them go on.
    """
    with held([one for root in roots for one in generators(root).values()], reseed):
        yield


@contextmanager
def held(found: Sequence[Any], reseed: int | None = None) -> Iterator[None]:
    """The same for generators that were found already."""
    restores = [_state(one) for one in found]
    try:
        for one in found if reseed is not None else ():
            _seed(one, reseed)
        yield
    finally:
        for restore in restores:
            if restore is not None:
                restore()


def of_model(model: nn.Module) -> list[Any]:
    """Every generator that a model's own modules hold, or that their methods name."""
    roots: list[Any] = []
    classes: set[type] = set()
    for module in model.modules():
        if type(module).__module__.startswith("torch."):
            continue
        roots += [value for name, value in vars(module).items() if name not in _OF_ANY_MODULE]
        classes.update(k for k in type(module).__mro__ if not k.__module__.startswith("torch."))
    roots += [part for k in classes for part in vars(k).values() if isinstance(part, FunctionType)]
    opaque = (*_OPAQUE, nn.Module)
    found = [one for root in roots if not isinstance(root, opaque) for one in generators(root).values()]
    return list({id(one): one for one in found}.values())


def standing(found: Sequence[Any]) -> list[str]:
    """Where the generators stand, to see whether any drew."""
    return [_text(one) for one in found]


def _seed(one: Any, seed: int | None) -> None:
    if isinstance(one, torch.Generator):
        one.manual_seed(seed or 0)
    elif hasattr(one, "bit_generator"):
        one.bit_generator.state = type(one.bit_generator)(seed).state
    else:
        one.seed(seed)


def advanced(root: Any, act: Callable[[], object]) -> list[str]:
    """The generators within reach that the act draws from, by where they are."""
    before = {path: (one, _text(one)) for path, one in generators(root).items()}
    act()
    return [path for path, (one, state) in before.items() if _text(one) != state]


def _text(node: Any) -> str:
    if isinstance(node, torch.Generator):
        return str(node.get_state().tolist())
    if isinstance(node, random.Random):
        return str(node.getstate())
    state = getattr(node, "bit_generator", None)
    return str(state.state if state is not None else node.get_state(legacy=False))


def _state(node: Any) -> Restore | None:
    """What puts this generator back to its present state; None where it is no generator."""
    if isinstance(node, torch.Generator):
        tensor = node.get_state()
        return lambda: node.set_state(tensor)
    if isinstance(node, random.Random) and not isinstance(node, random.SystemRandom):
        state = node.getstate()
        return lambda: node.setstate(state)
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None
    if isinstance(node, numpy.random.Generator):
        bits, inner = node.bit_generator, node.bit_generator.state
        return lambda: setattr(bits, "state", inner)
    if isinstance(node, numpy.random.RandomState):
        stood = node.get_state(legacy=False)
        return lambda: node.set_state(stood)
    return None


def _parts(node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        yield from ((str(k), v) for k, v in islice(node.items(), _ELEMENTS))
    elif isinstance(node, (list, tuple, set, frozenset)):
        if len(node) <= _ELEMENTS:
            yield from ((str(i), part) for i, part in enumerate(node))
    elif isinstance(node, MethodType):
        yield "__self__", node.__self__
        yield "__func__", node.__func__
    elif isinstance(node, FunctionType):
        yield from _of_function(node)
    else:
        yield from vars(node).items() if hasattr(node, "__dict__") else ()
        for name in ("__getitem__", "__getitems__", "__iter__", "__call__"):
            method = getattr(type(node), name, None)
            if isinstance(method, FunctionType) and not method.__module__.startswith("torch."):
                yield name, method


def _of_function(function: FunctionType) -> Iterator[tuple[str, Any]]:
    code = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield name, cell.cell_contents
        except ValueError:
            continue
    for name in code.co_names:
        value = function.__globals__.get(name)
        if isinstance(value, FunctionType) or _state(value) is not None:
            yield name, value


def _inst(method: Any) -> Any:
    return getattr(method, "__self__", None)
