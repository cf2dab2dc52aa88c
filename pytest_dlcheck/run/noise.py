"""What becomes of a random tensor: is it added, as it is, to what the model computes? Judges nothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pytest_dlcheck.run.operations import Operation

_SCALES = frozenset({"mul", "__mul__", "__rmul__", "mul_", "div", "__truediv__", "to", "type_as"})
_SUMS = frozenset({"add", "__add__", "__radd__", "add_", "__iadd__", "sub", "__sub__", "sub_"})


def is_added_plainly(found: Operation, after: Sequence[Operation]) -> bool:
    """Whether noise, scaled by nothing but constants, is added to values of the same shape.

    What a model scales its noise by, a learned or predicted spread, shows that it samples on purpose.

    Args:
        found: the operation that draws; it has a tensor that it imitates, or none.
        after: the operations after it, in order.
    """
    noise = found.outputs[0] if found.outputs else None
    if noise is None or not noise.is_floating_point() or noise.dim() == 0:
        return False
    for operation in after:
        flags = operation.trained or (False,) * len(operation.inputs)
        pairs = zip(operation.inputs, flags, strict=True)
        rest = [(x, trained) for x, trained in pairs if not _same(x, noise)]
        if len(rest) == len(operation.inputs):
            continue
        others = [x for x, _ in rest]
        constant = all(_is_constant(x) and not trained for x, trained in rest)
        if operation.name in _SCALES and constant and operation.outputs:
            noise = operation.outputs[0]
            continue
        return operation.name in _SUMS and any(
            x.shape == noise.shape and not _is_constant(x) for x in others
        )
    return False


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)


def _is_constant(tensor: Tensor) -> bool:
    return tensor.numel() == 1 or bool((tensor == tensor.flatten()[0]).all())
