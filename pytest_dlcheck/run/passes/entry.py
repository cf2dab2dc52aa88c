"""The root module's own call during a step: what enters it, by parameter name. Nothing is judged."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.errors import CannotTellError
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import detached, map_tensors, named_tensors

_Kind = inspect.Parameter


@dataclass(frozen=True)
class Entry:
    """What the root module is called with.

    Attributes:
        inputs: parameter name to value.
        function: calls the root with other inputs of the same names.
        swallowed: names that its signature takes without naming them (``**kwargs``).
    """

    inputs: dict[str, Any]
    function: Callable[[dict[str, Any]], Any]
    swallowed: frozenset[str]

    def named(self) -> Iterator[tuple[str, Tensor]]:
        """Every input tensor that holds something, with its place: ``x``, ``batch.mask``."""
        for name, value in self.inputs.items():
            for place, tensor in named_tensors(value, name):
                if tensor.numel() and tensor.layout is torch.strided:
                    yield place, tensor

    def with_tensor(self, old: Tensor, new: Tensor) -> dict[str, Any]:
        """The inputs with one tensor replaced."""
        return {k: map_tensors(v, lambda t: new if t is old else t) for k, v in self.inputs.items()}


def entry(rig: Rig) -> Entry:
    """The first call of the root module; call inside ``rig.undisturbed()``.

    Raises:
        CannotTellError: the root is never called.
    """
    call = rig.call
    if rig.recipe.forward is None:
        args, kwargs = _split(call.inputs, recorded=rig.recipe.training_step is not None)
    else:
        args, kwargs = _recorded(rig)
    return _bound(rig.model, args, kwargs)


def _split(inputs: Any, *, recorded: bool) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What the model is called with by convention, or as a step was seen to call it."""
    if recorded and not (isinstance(inputs, dict) and "args" in inputs):
        raise CannotTellError("the model itself is never called, only parts of it")
    if recorded:
        return tuple(inputs["args"]), {k: v for k, v in inputs.items() if k != "args"}
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    several = isinstance(inputs, (tuple, list)) and not hasattr(inputs, "_fields")
    return (tuple(inputs) if several else (inputs,)), {}


def _recorded(rig: Rig) -> tuple[tuple[Any, ...], dict[str, Any]]:
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def record(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        calls.append((args, kwargs))

    handle = rig.model.register_forward_pre_hook(record, with_kwargs=True)
    try:
        with torch.no_grad():
            rig.call()
    finally:
        handle.remove()
    if not calls:
        raise CannotTellError("the model itself is never called, only parts of it")
    return calls[0]


def _bound(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Entry:
    try:
        signature = inspect.signature(model.forward)
        bound = signature.bind(*args, **kwargs)
    except (TypeError, ValueError):
        return _unbound(model, args, kwargs)
    kinds = {name: parameter.kind for name, parameter in signature.parameters.items()}
    collects = {_Kind.VAR_POSITIONAL, _Kind.VAR_KEYWORD}
    if set(kinds.values()) <= collects:
        return _unbound(model, args, kwargs)

    def function(inputs: dict[str, Any]) -> Any:
        again = inspect.BoundArguments(signature, inputs)
        return model(*again.args, **again.kwargs)

    swallowed = frozenset(name for name, kind in kinds.items() if kind in collects)
    return Entry(detached(dict(bound.arguments)), function, swallowed)


def _unbound(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Entry:
    count = len(args)

    def function(inputs: dict[str, Any]) -> Any:
        values = list(inputs.values())
        named = dict(list(inputs.items())[count:])
        return model(*values[:count], **named)

    positional = {f"input[{index}]" if count > 1 else "input": arg for index, arg in enumerate(args)}
    return Entry(detached({**positional, **kwargs}), function, frozenset())
