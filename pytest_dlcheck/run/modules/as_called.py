"""How a model was called, as a nest of what it was given, and called the same way again. No watching."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn


def nest_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a model was called with, as one nest."""
    if kwargs:
        return {"args": list(args), **kwargs} if args else kwargs
    return args[0] if len(args) == 1 else args


def forward_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[nn.Module, Any], Any]:
    """Calls a model with such a nest, as it was called."""
    if kwargs:
        return lambda model, nest: model(
            *nest.get("args", ()), **{name: value for name, value in nest.items() if name != "args"}
        )
    if len(args) == 1:
        return lambda model, nest: model(nest)
    return lambda model, nest: model(*nest)
