"""What a module is given for its parameters, by their places or by their names."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import CodeType, FunctionType
from typing import Any

from torch import nn


def argument(arguments: tuple[Any, ...], named: Mapping[str, Any], place: int, name: str) -> Any:
    """What is given for the parameter at that place, of that name; None for nothing."""
    return arguments[place] if len(arguments) > place else named.get(name)


def in_order(module: nn.Module, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> tuple[Any, ...]:
    """All that a module is given, in the order of its parameters as far as these are known.

    ``model(**batch)`` comes in the order of the batch, in which labels may stand first.
    """
    if not named:
        return arguments
    forward = getattr(type(module), "forward", None)
    names = _parameters(forward) if isinstance(forward, FunctionType) else ()
    known = [name for name in names if name in named]
    others = (name for name in named if name not in known)
    return (*arguments, *(named[name] for name in (*known, *others)))


def _parameters(forward: FunctionType) -> tuple[str, ...]:
    """The names of a function's parameters; of what it wraps, if it wraps another function."""
    code: CodeType = getattr(inspect.unwrap(forward), "__code__", forward.__code__)
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
