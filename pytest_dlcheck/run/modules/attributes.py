"""Where a tensor is kept that no module has registered: lists, dicts and plain attributes, searched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from types import FunctionType, MethodType
from typing import Any

from torch import Tensor, nn

from pytest_dlcheck.run.tensors.graph import leaves

_DEPTH = 8
_OWN = frozenset({"_parameters", "_buffers", "_modules"})


class Place:
    """Where a tensor was found.

    Attributes:
        path: ``layers[0].weight``, from the model.
        holder: what hides it, for example ``"a plain list"``.
    """

    def __init__(self, path: str, holder: str) -> None:
        self.path, self.holder = path, holder


def places(root: nn.Module) -> Iterator[tuple[Tensor, Place]]:
    """Every tensor that a module holds without having registered it as a parameter.

    Args:
        root: searched with its registered submodules.
    """
    seen: set[int] = set()
    for name, module in root.named_modules():
        seen.add(id(module))
        prefix = f"{name}." if name else ""
        for key, buffer in module._buffers.items():  # noqa: SLF001  public only by copying names
            if buffer is not None and buffer.requires_grad:
                yield from _leaves(buffer, Place(prefix + key, "a buffer"))
    for name, module in root.named_modules():
        prefix = f"{name}." if name else ""
        for key, value in vars(module).items():
            if key not in _OWN and not (key.startswith("_") and "hook" in key):
                yield from _within(value, prefix + key, "", seen, _DEPTH)
    for kind in {type(module) for module in root.modules()}:
        if not kind.__module__.startswith("torch."):
            yield from _within(kind.forward, "", "", seen, _DEPTH)


def _within(
    value: Any, path: str, holder: str, seen: set[int], depth: int
) -> Iterator[tuple[Tensor, Place]]:
    if isinstance(value, Tensor):
        kind = "a plain tensor, no nn.Parameter"
        yield from _leaves(value, Place(path, holder or kind))
        return
    if depth == 0 or id(value) in seen or isinstance(value, (str, bytes, int, float, type)):
        return
    seen.add(id(value))
    for part, label, kind in _parts(value, path):
        yield from _within(part, label, holder or kind, seen, depth - 1)


def _parts(value: Any, path: str) -> Iterator[tuple[Any, str, str]]:
    """What a thing holds: each with its path and with what hides it."""
    if isinstance(value, nn.Module):
        for name, part in _of_module(value):
            yield part, f"{path}.{name}", "an attribute that hides it"
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield part, f"{path}[{key!r}]", "a plain dict"
    elif isinstance(value, (list, tuple, set)):
        for index, part in enumerate(value):
            yield part, f"{path}[{index}]", f"a plain {type(value).__name__}"
    elif isinstance(value, (FunctionType, MethodType, partial)):
        yield from _of_function(value, path)
    elif hasattr(value, "__dict__") and not _is_library(value):
        for key, part in vars(value).items():
            yield part, f"{path}.{key}", f"an object that is no module ({type(value).__name__})"


def _of_function(function: Any, path: str) -> Iterator[tuple[Any, str, str]]:
    """Modules and tensors that a function uses without being given them."""
    if isinstance(function, partial):
        for index, part in enumerate((function.func, *function.args, *function.keywords.values())):
            yield part, f"{path}[{index}]", "a partial"
    elif isinstance(function, MethodType):
        yield function.__self__, path, "a bound method"
    if not isinstance(function, FunctionType):
        return
    code, around = function.__code__, function.__closure__ or ()
    for name, cell in zip(code.co_freevars, around, strict=False):
        with suppress(ValueError):  # a cell that is not filled yet
            yield cell.cell_contents, f"{path}.{name}" if path else name, "a closure"
    for name in code.co_names:
        value = function.__globals__.get(name)
        if isinstance(value, (nn.Module, Tensor)):
            yield value, name, "a global"


def _of_module(root: nn.Module) -> Iterator[tuple[str, Any]]:
    yield from root.named_parameters()
    for name, module in root.named_modules():
        for key, part in vars(module).items():
            if not key.startswith("_"):
                yield f"{name}.{key}" if name else key, part


def _leaves(tensor: Tensor, place: Place) -> Iterator[tuple[Tensor, Place]]:
    if tensor.is_leaf:
        yield tensor, place
        return
    for leaf in leaves(tensor):
        yield leaf, Place(place.path, "a tensor computed from a parameter that nothing keeps")


def _is_library(value: object) -> bool:
    return type(value).__module__.split(".")[0] in {"torch", "numpy", "builtins", "types", "logging"}
