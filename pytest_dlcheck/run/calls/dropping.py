"""Where values are lost on their way to the outputs: operation, line and module. Judges nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.calls.operations import Operation, operations
from pytest_dlcheck.run.calls.witness import witnessed

_SLICES = frozenset(
    (
        "__getitem__",
        "select",
        "narrow",
        "index_select",
        "split",
        "split_with_sizes",
        "tensor_split",
        "chunk",
        "unbind",
        "gather",
        "take_along_dim",
        "__iter__",
    )
)
_STRIDES = ("conv", "pool", "unfold", "interpolate", "grid_sample", "as_strided", "upsample")
_ZEROES = frozenset(
    (
        "mul",
        "__mul__",
        "__rmul__",
        "mul_",
        "__imul__",
        "multiply",
        "where",
        "masked_fill",
        "masked_fill_",
        "__setitem__",
        "zero_",
        "fill_",
        "index_fill",
        "index_fill_",
        "index_put",
        "index_put_",
        "index_copy",
        "index_copy_",
        "masked_scatter",
        "scatter",
    )
)
_COPIES = frozenset(("double", "float", "to", "type", "clone", "detach", "contiguous"))
_MAKERS = ("_like", "new_", "arange", "__get__")


def dropped(model: nn.Module, calls: Sequence[Callable[[], object]], given: Tensor) -> dict[str, Any]:
    """Compare a call with one whose input differs where it does not matter.

    Args:
        model: the root.
        calls: the two calls.
        given: the input tensor that differs, as in the first call.

    Returns:
        ``how`` (``sliced``, ``strided``, ``zeroed``, ``other``, ``unread`` where a result is never
        read, ``untouched`` where nothing reads the input), and ``operation``, ``line``, ``module``,
        ``maker`` (the module that made what is dropped) and ``raw`` (whether it is the input itself).
    """
    try:
        one, other = (operations(model, call) for call in calls)
    except Exception:  # noqa: BLE001  some modules refuse hooks; then the place is not known
        return {"how": "unknown"}
    pairs = [(a, b) for a, b in zip(one, other, strict=False) if a.name == b.name]
    moved = [(a, b) for a, b in pairs if _differ(a.inputs, b.inputs) and not _copies(a)]
    if not moved:
        return {"how": "untouched" if one else "unknown"}
    losing = [
        (a, b)
        for a, b in moved
        if not _differ(a.outputs, b.outputs) and not any(word in a.name for word in _MAKERS)
    ]
    losing = [pair for pair in losing if not _takes_its_share(pair[0], moved)]
    sliced = [pair for pair in losing if _how(pair[0]) == "sliced"]
    if losing:
        a, b = (sliced or losing)[0 if sliced else -1]
        how = _how(a)
    else:
        a, b = next(((x, y) for x, y in reversed(moved) if _differ(x.outputs, y.outputs)), moved[-1])
        how = "unread"
    tensor = next((x for x, y in zip(a.inputs, b.inputs, strict=False) if _unlike(x, y)), None)
    return {
        "how": how,
        "operation": a.name,
        "line": a.line,
        "module": a.module,
        "maker": _maker(model, calls[0], tensor if how != "unread" else a.outputs[0]),
        "raw": tensor is not None and _is(tensor, given),
    }


def _takes_its_share(slicing: Operation, moved: list[tuple[Operation, Operation]]) -> bool:
    """Whether what a slice leaves out is taken by another slice of the same tensor."""
    return _how(slicing) == "sliced" and any(
        _how(a) == "sliced" and _differ(a.outputs, b.outputs) and _is(a.inputs[0], slicing.inputs[0])
        for a, b in moved
    )


def _how(operation: Operation) -> str:
    if operation.name in _SLICES:
        return "sliced"
    if any(word in operation.name for word in _STRIDES):
        return "strided"
    return "zeroed" if operation.name in _ZEROES else "other"


def _copies(operation: Operation) -> bool:
    return operation.name in _COPIES and _is(operation.inputs[0], operation.outputs[0])


def _maker(model: nn.Module, call: Callable[[], object], tensor: Tensor | None) -> str | None:
    """The innermost module among whose outputs that tensor is."""
    if tensor is None:
        return None
    return next(
        (
            seen.name
            for seen in witnessed(model, call)
            if seen.name and any(_is(output, tensor) for output in seen.outputs)
        ),
        None,
    )


def _is(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    return torch.equal(one.double().cpu(), other.double().cpu())


def _differ(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) != len(other) or any(_unlike(a, b) for a, b in zip(one, other, strict=True))


def _unlike(one: Tensor, other: Tensor) -> bool:
    return one.shape != other.shape or not torch.equal(one, other)
