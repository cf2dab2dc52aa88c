"""What inputs and targets of one shape differ by, where that is the same in every sample."""

from __future__ import annotations

import torch
from torch import Tensor

from pytest_dlcheck.run.contents.places import Place
from pytest_dlcheck.trace import Scalar

_KNOWN = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})
_FEWEST = 16
"""Samples, and"""
_ELEMENTS = 64
"""numbers a sample, from which on equal differences are spoken of; chosen."""
_MOST = 256
"""Samples that are compared, at most."""
_ROUNDING = 32
"""Units of rounding of the largest number up to which differences are equal: both were rounded."""
_ERRORS = 5.0
"""Standard errors up to which a mean is 0."""
_AXIS = 4
"""Length from which on neighbours along an axis tell whether a difference is smooth."""


def same_residual(place: Place, targets: list[Place]) -> dict[str, Scalar]:
    """The size of a difference that all samples share, and how alike neighbours in it are.

    Numbers at the ends of the inputs' range are left out, as they may have been clipped there.

    Args:
        place: of inputs.
        targets: those of the same samples.
    """
    if place.is_target or place.values.dtype not in _KNOWN:
        return {}
    fitting = [t for t in targets if t.values.shape == place.values.shape and t.indices == place.indices]
    few = len(place.values) < _FEWEST or place.values[0].numel() < _ELEMENTS
    if few or len(fitting) != 1 or fitting[0].values.dtype not in _KNOWN:
        return {}
    given, wanted = (
        p.values[:_MOST].reshape(min(len(p.values), _MOST), -1) for p in (place, fitting[0])
    )
    if not _is_shared(given[:2], wanted[:2]) or not _is_shared(given, wanted):
        return {}
    shared, known = _shared(given, wanted)
    spread = float(shared[known].std())
    if int(known.sum()) < _ELEMENTS or not spread > _tolerance(given, wanted):
        return {}
    if int((given != given[:1]).any(1).sum()) < _FEWEST // 2 or _is_centred(given):
        return {}
    shape = place.values.shape[1:]
    return {
        "residual_spread": spread,
        "residual_samples": len(given),
        "residual_alike": _neighbours(shared.reshape(shape), known.reshape(shape)),
    }


def _is_centred(given: Tensor) -> bool:
    """Whether every feature has the mean 0: then inputs may be targets less their means."""
    spread = given.double().std(0) / len(given) ** 0.5
    return bool((given.double().mean(0).abs() <= _ERRORS * spread + 1e-12).all())


def _inside(given: Tensor) -> Tensor:
    """Where inputs are not at the ends of their range."""
    return (given > given.min()) & (given < given.max())


def _tolerance(given: Tensor, wanted: Tensor) -> float:
    largest = max(float(given.abs().max()), float(wanted.abs().max()))
    return _ROUNDING * torch.finfo(given.dtype).eps * largest


def _is_shared(given: Tensor, wanted: Tensor) -> bool:
    """Whether at every place all samples differ by the same number; False where numbers are missing."""
    inside = _inside(given)
    apart = (given - wanted).double()
    high = apart.masked_fill(~inside, -torch.inf).amax(0)
    low = apart.masked_fill(~inside, torch.inf).amin(0)
    tested = inside.sum(0) > 1
    enough = int(tested.sum()) >= _ELEMENTS // 2
    return enough and bool(((high - low)[tested] <= _tolerance(given, wanted)).all())


def _shared(given: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The difference, and where it is known."""
    inside = _inside(given)
    count = inside.sum(0)
    total = (given - wanted).double().masked_fill(~inside, 0.0).sum(0)
    return total / count.clamp_min(1), count > 1


def _neighbours(shared: Tensor, known: Tensor) -> float:
    """The largest correlation of neighbours along an axis: about 0 for noise, 1 for what is smooth."""
    away = (shared - shared[known].mean()).masked_fill(~known, 0.0)
    found = [0.0]
    for axis, size in enumerate(shared.shape):
        if size >= _AXIS:
            one, other = (slice_.double() for slice_ in (_part(away, axis, 0), _part(away, axis, 1)))
            both = _part(known, axis, 0) & _part(known, axis, 1)
            power = (one[both].square().sum() * other[both].square().sum()).sqrt().clamp_min(1e-300)
            found.append(abs(float((one * other).sum() / power)))
    return max(found)


def _part(tensor: Tensor, axis: int, begin: int) -> Tensor:
    return tensor.narrow(axis, begin, tensor.size(axis) - 1)
