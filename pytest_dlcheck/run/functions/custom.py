"""The user's own autograd Functions: found in a graph, and their calls heard. Nothing is judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction, FunctionCtx

from pytest_dlcheck.run.tensors.graph import roots, walk

Hear: TypeAlias = Callable[[tuple[Any, ...]], None]
"""Told what a Function is applied to."""
_CALLS_KEPT = 2
_TOO_LARGE = 10_000_000
"""Elements from which on a call's inputs are not kept."""


@dataclass(frozen=True)
class FunctionCall:
    """One call of a custom Function.

    Attributes:
        arguments: what it was applied to; tensors are copies.
        trained: which arguments require grad.
        site: the dotted name of the module in whose forward it ran; None outside of any.
    """

    arguments: tuple[Any, ...]
    trained: tuple[int, ...]
    site: str | None


def custom_functions(tensor: Tensor) -> list[type[Any]]:
    """The classes of the user's own autograd Functions in the graph of a tensor."""
    found: dict[type[Any], None] = {}
    for node in walk(roots([tensor])):
        if isinstance(node, BackwardCFunction):
            kind: type[Any] = node._forward_cls  # type: ignore[attr-defined]  # noqa: SLF001
            if not kind.__module__.startswith("torch."):
                found[kind] = None
    return list(found)


@contextmanager
def heard(model: nn.Module, kinds: Iterable[type[Any]]) -> Iterator[dict[type[Any], list[FunctionCall]]]:
    """Follow the calls of these Functions, by ``forward``: ``apply`` may have been kept by name."""
    calls: dict[type[Any], list[FunctionCall]] = {}
    inside: list[str] = []
    handles: list[Any] = []

    def leave(*_: Any) -> None:
        inside.pop()

    for name, module in model.named_modules():

        def enter(_: nn.Module, __: Any, name: str = name) -> None:
            inside.append(name)

        handles.append(module.register_forward_pre_hook(enter))
        handles.append(module.register_forward_hook(leave))
    undo = [listen(kind, keeping(calls.setdefault(kind, []), inside)) for kind in kinds]
    try:
        yield calls
    finally:
        for put_back in undo:
            put_back()
        for handle in handles:
            handle.remove()


def keeping(calls: list[FunctionCall], inside: Sequence[str] = ()) -> Hear:
    """What notes the first few calls of a Function.

    Args:
        calls: where to note them.
        inside: the modules in whose forwards it runs, the innermost last.
    """

    def hear(arguments: tuple[Any, ...]) -> None:
        sizes = [a.numel() for a in arguments if isinstance(a, Tensor)]
        if len(calls) < _CALLS_KEPT and sum(sizes) < _TOO_LARGE:
            site = inside[-1] if inside else None
            calls.append(FunctionCall(tuple(map(_copy, arguments)), _trained(arguments), site))

    return hear


def listen(kind: type[Any], hear: Hear) -> Callable[[], None]:
    """Tell of what a Function is applied to.

    Args:
        kind: which.
        hear: told the arguments, before each call.

    Returns:
        What puts its forward back.
    """
    own, forward = vars(kind).get("forward"), kind.forward

    def listening(*given: Any) -> Any:
        hear(given[1:] if given and isinstance(given[0], FunctionCtx) else given)
        return forward(*given)

    kind.forward = staticmethod(listening)

    def put_back() -> None:
        if own is None:
            del kind.forward
        else:
            kind.forward = own

    return put_back


def _trained(arguments: Iterable[Any]) -> tuple[int, ...]:
    return tuple(
        index
        for index, value in enumerate(arguments)
        if isinstance(value, Tensor) and value.requires_grad and value.is_floating_point()
    )


def _copy(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else value


def takes_doubles(kind: type[Any], call: FunctionCall) -> bool:
    """Whether the Function runs in double precision, and says the same."""
    doubles = [a.double() if _is_float(a) else a for a in call.arguments]
    try:
        with torch.no_grad():
            kind.apply(*doubles)
    except Exception:  # noqa: BLE001  a kernel of the user's may refuse in any way
        return False
    return True


def _is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()
