"""Whether what a part gives at a place of a sequence serves that place, or all of them alike.

A layer that sees the whole of a sequence shows a next word where each place has its own result. Where
the results are put together to one, as an encoder's to what a decoder begins with, that may be meant.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pytest_dlcheck.run.calls.operations import line_of_caller
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.compare import tolerance
from pytest_dlcheck.run.tensors.tree import map_tensors, tensors
from pytest_dlcheck.trace import Row

LOCAL = 0.5
"""Largest change far before a place (ratio to that at the place) where its result serves that place; one
result for all changes all of them about as much (0.97 and more in autoencoders of text, at most 0.24 in
encoders of two to six layers without a mask)."""


def uses_in_place(rig: Rig, row: Row, axis: int) -> bool | None:
    """Whether a model's only output along time changes where a part's result is changed, not before.

    None where it has several outputs along time: any of them may see what it is meant to see.

    Args:
        rig: the model and what it is called with.
        row: which part it is, a module or an operation in the model's own forward.
        axis: of time.
    """
    steps, before = row.integer("steps"), rig.call()
    place, name = steps - 2, row.text("culprit")
    change = _Change(axis, steps, place)
    if name:
        handle = rig.model.get_submodule(name).register_forward_hook(change.hook)
        try:
            after = rig.call()
        finally:
            handle.remove()
    else:
        with _Changed(row.text("operation"), row.text("line"), change):
            after = rig.call()
    one, other = _timed(before, axis, steps), _timed(after, axis, steps)
    if len(one) != 1 or len(other) != 1:
        return None
    a, b = one[0].movedim(axis, 0), other[0].movedim(axis, 0)
    changes = (a - b).abs().flatten(1).amax(1)
    here, far = float(changes[place]), float(changes[: max(1, steps // 4)].max())
    return here > tolerance(a.dtype) * float(a.abs().max()) and far <= LOCAL * here


class _Change:
    """Gives a part's result other numbers at one place of the sequence."""

    def __init__(self, axis: int, steps: int, place: int) -> None:
        self._axis, self._steps, self._place = axis, steps, place

    def hook(self, _: nn.Module, __: object, output: Any) -> Any:
        """As a forward hook."""
        return map_tensors(output, self)

    def __call__(self, tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point() or (axis := self._along(tensor)) is None:
            return tensor
        changed = tensor.clone()
        part = changed.select(axis, self._place)
        part.add_(torch.randn_like(part) * (float(tensor.std()) + 1.0))
        return changed

    def _along(self, tensor: Tensor) -> int | None:
        """The axis of time; of scores by places and places, that of the places that attend."""
        axes = [i for i, size in enumerate(tensor.shape) if size == self._steps]
        if axes[-2:] == [tensor.dim() - 2, tensor.dim() - 1]:
            return tensor.dim() - 2
        return self._axis if self._axis in axes else next(iter(axes), None)


class _Changed(TorchFunctionMode):
    """The same of what an operation on one line of the user's gives."""

    def __init__(self, name: str, line: str, change: _Change) -> None:
        super().__init__()
        self._name, self._line, self._change = name, line, change

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        result = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") != self._name or line_of_caller() != self._line:
            return result
        return map_tensors(result, self._change)


def _timed(outputs: Any, axis: int, steps: int) -> list[Tensor]:
    """The outputs that have the axis of time."""
    found = [t.detach() for t in tensors(outputs) if t.is_floating_point()]
    return [t for t in found if axis < t.dim() and t.size(axis) == steps]
