"""What random numbers do to what a model computes, told from two calls of it. Judges nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from pytest_dlcheck.run.calls.operations import Operation
from pytest_dlcheck.run.tensors.compare import relative_change

Kind = Literal["zeroing", "adding", "scaling", "mixing", "branching", "noise"]

_ROUNDINGS = {"cpu": 8.0}
_ROUNDINGS_ELSEWHERE = 64.0
"""Roundings of the output's dtype that repeated sums may differ by: threads on the CPU, atomics
elsewhere."""
_LARGEST_BOUND = 0.1
_ZEROED = 0.005
"""Share of elements that must be exactly zeroed before an operation counts as dropout."""
_CONSTANT = 1e-3
"""Relative spread up to which the scale of the kept elements counts as one number."""
_POSITIVE = 0.9
"""Share of positive numbers from which on noise scales; that around zero has a half."""
_FEWEST, _MANY = 8, 16
"""Numbers from which on it tells that all are positive, and that such a share is."""
_RECURRENT = frozenset({"lstm", "gru", "rnn_tanh", "rnn_relu"})
_UNFILLED = frozenset({"empty", "empty_like", "new_empty", "empty_strided"})
_FILLERS = frozenset(
    ("bernoulli_", "uniform_", "normal_", "random_", "exponential_", "geometric_", "log_normal_")
)
_LIKE = frozenset({"rand_like", "randn_like", "randint_like"})
_LINEAR = frozenset(
    (
        *("mul", "__mul__", "__rmul__", "mul_", "div", "__truediv__", "div_"),
        *("add", "__add__", "__radd__", "add_", "sub", "__sub__", "sub_", "__rsub__"),
        *("neg", "__neg__", "to", "type_as", "float", "half", "bfloat16", "double"),
        *("expand", "view", "reshape"),
    )
)
_PRODUCTS = frozenset({"mul", "__mul__", "__rmul__", "mul_", "__imul__", "multiply", "lerp", "lerp_"})
_SUMS = frozenset({"add", "__add__", "__radd__", "add_", "__iadd__", "sub", "__sub__", "sub_"})
_CHOICES = frozenset({"where", "masked_fill", "masked_fill_", "masked_scatter", "masked_scatter_"})
_WRITES = frozenset({"__setitem__", "index_put", "index_put_", *_CHOICES})
_ROUNDS = frozenset({"floor", "round", "trunc", "floor_", "round_"})


@dataclass(frozen=True)
class Effect:
    """What a draw does.

    Attributes:
        kind: ``zeroing`` (units or paths), ``adding`` and ``scaling`` (noise that nothing learned
            shapes), ``mixing`` (parts taken from elsewhere by a coin), ``branching`` (other operations
            run), or ``noise``: any other draw.
        operation: that which draws, or shows the draw first; None where it is not known.
    """

    kind: Kind
    operation: Operation | None


def effect(one: Sequence[Operation], other: Sequence[Operation]) -> Effect:
    """What is done with the first draw that meets what the model computes.

    Args:
        one: the operations of a call.
        other: those of a call with other draws.
    """
    source, linear = None, True
    for at, pair in enumerate(zip(one, other, strict=False)):
        a, b = map(_filled, pair)
        if _key(a) != _key(b):
            return _parted(one, other, source or a)
        if a.name in _UNFILLED or all(map(_equal, a.outputs, b.outputs)):
            continue
        agree = [*map(_equal, a.inputs, b.inputs)]
        drawn = [(x, y) for x, y, same in zip(a.inputs, b.inputs, agree, strict=True) if not same]
        rest = [same and _is_computed(a, i) for i, same in enumerate(agree)]
        if not drawn:
            if _drops(a) or _zeroes(a, b):
                return Effect("zeroing", a)
            if any(rest) and a.name not in _LIKE:
                return Effect("noise", a)
            source, linear = a, True
            continue
        source = source or a
        if any(rest):
            after = [*zip(one, other, strict=False)][at + 1 :]
            return Effect(_joined(a, b, *drawn[0], after, linear=linear), source)
        linear = linear and a.name in _LINEAR
    if len(one) != len(other):
        return _parted(one, other, source)
    return Effect("noise", source)


def _filled(operation: Operation) -> Operation:
    """What is filled in place with random numbers did not hold anything before."""
    if operation.name not in _FILLERS:
        return operation
    return replace(operation, inputs=operation.inputs[1:], trained=operation.trained[1:])


def _is_computed(operation: Operation, index: int) -> bool:
    """Whether that input is more than a constant."""
    trained = index < len(operation.trained) and operation.trained[index]
    return trained or not _is_constant(operation.inputs[index])


def _parted(one: Sequence[Operation], other: Sequence[Operation], found: Operation | None) -> Effect:
    """Other operations from some point on; both come to the same end where a coin decides."""
    ended = bool(one) and bool(other) and _key(one[-1])[:3] == _key(other[-1])[:3]
    return Effect("branching" if ended else "noise", found)


def _joined(
    a: Operation,
    b: Operation,
    noise: Tensor,
    again: Tensor,
    after: Sequence[tuple[Operation, Operation]],
    *,
    linear: bool,
) -> Kind:
    """What becomes of computed values where they meet noise that nothing learned shapes."""
    y = a.outputs[0]
    if _zeroes(a, b):
        return "zeroing"
    if a.name in _PRODUCTS and _scales(noise, again):
        return "scaling"
    if a.name in _SUMS and linear and noise.dim() > 0 and noise.is_floating_point():
        rounded = bool(after) and after[0][0].name in _ROUNDS
        others = [x for x in a.inputs if x is not noise]
        return "adding" if not rounded and any(x.shape == noise.shape for x in others) else "noise"
    if a.name in _CHOICES and noise.dtype == torch.bool and y.is_floating_point():
        return "noise" if _are_tokens(noise.expand_as(y)) else "mixing"
    if a.name == "__getitem__" and noise.dtype == torch.bool and any(_writes(*pair) for pair in after):
        return "mixing"
    return "noise"


def _writes(a: Operation, b: Operation) -> bool:
    """Whether it overwrites some of what both calls agree on."""
    same = _key(a) == _key(b) and a.name in _WRITES and len(a.inputs) > 1
    return same and a.inputs[0].is_floating_point() and _equal(a.inputs[0], b.inputs[0])


def _drops(operation: Operation) -> bool:
    drops = "dropout" in operation.name or operation.name in _RECURRENT or operation.name == "rrelu"
    return drops or float(operation.options.get("dropout_p") or 0.0) > 0


def _zeroes(a: Operation, b: Operation) -> bool:
    """Whether it takes a float tensor that agrees and zeroes other parts of it in each call."""
    if len(a.inputs) != len(b.inputs) or not a.outputs or not b.outputs:
        return False
    y, z = a.outputs[0], b.outputs[0]
    if y.shape != z.shape or not y.is_floating_point() or _equal(y, z):
        return False
    agreeing = [x for x, w in zip(a.inputs, b.inputs, strict=True) if _equal(x, w)]
    fitting = [x for x in agreeing if x.shape == y.shape and x.is_floating_point()]
    return any(_leaves_out(x, y, z) or _leaves_out(x, z, y) for x in fitting)


def _leaves_out(x: Tensor, y: Tensor, z: Tensor) -> bool:
    live = x != 0
    dropped, kept = ((y == 0) != (z == 0)) & live, live & (y != 0)
    if float(dropped.double().mean()) < _ZEROED or not bool(kept.any()):
        return False
    scales = (y[kept] / x[kept]).double()
    if float(scales.max() - scales.min()) > _CONSTANT * float(scales.abs().max()):
        return False
    gone, unscaled = (y == 0) & live, abs(float(scales[0]) - 1) <= _CONSTANT
    return not (unscaled and _are_tokens(gone, live))


def _are_tokens(gone: Tensor, live: Tensor | None = None) -> bool:
    """Whether whole tokens of a sequence are left out, as masked pretraining does on purpose."""
    if gone.dim() != 3:  # noqa: PLR2004  (batch, time, features)
        return False
    tokens = gone.any(-1, keepdim=True)
    whole = tokens.expand_as(gone) if live is None else tokens & live
    samples = tokens.flatten(1)
    return bool((gone == whole).all()) and bool((samples.any(1) & ~samples.all(1)).any())


def _scales(noise: Tensor, again: Tensor) -> bool:
    """Whether it scales rather than jitters: what is drawn around zero gets its size elsewhere."""
    numbers = torch.cat([noise.flatten(), again.flatten()])
    if numbers.dtype == torch.bool or numbers.numel() < _FEWEST or bool((numbers == 0).any()):
        return False
    needed = _POSITIVE if numbers.numel() >= _MANY else 1.0
    return float((numbers > 0).double().mean()) >= needed


def _key(operation: Operation) -> tuple[str, str, str, int]:
    return operation.name, operation.line, operation.module, len(operation.inputs)


def _is_constant(tensor: Tensor) -> bool:
    return tensor.numel() <= 1 or bool((tensor == tensor.flatten()[0]).all())


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and relative_change(a, b) <= limit(a)


def limit(tensor: Tensor) -> float:
    """The relative change up to which two calls gave the same: some roundings of its dtype."""
    dtype = tensor.dtype if tensor.is_floating_point() or tensor.is_complex() else torch.float32
    roundings = _ROUNDINGS.get(tensor.device.type, _ROUNDINGS_ELSEWHERE)
    return min(_LARGEST_BOUND, max(1e-9, roundings * float(torch.finfo(dtype).eps)))
