"""How large the data are where they meet the model's first weights, and what the weights make of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from pytest_dlcheck.run.crossings import Crossing, crossings
from pytest_dlcheck.run.experiment import Experiment
from pytest_dlcheck.run.freshness import is_untrained
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tree import tensors
from pytest_dlcheck.trace import Row

_ENTRIES = 8
"""Layers told of, at most."""
_CROSSED = 64
"""Layers followed, at most: what meets the data comes first."""
_LOST = 0.1
"""RMS of a norm's outputs below which its epsilon was larger than the variance it divides by."""
_EDGE = 0.02
"""Distance from the ends of its range, relative to the range, within which a value is at the edge."""
_RECURRENT = (nn.RNNBase, nn.RNNCellBase)
_KNOWN = (nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd, nn.MultiheadAttention, *_RECURRENT)  # noqa: SLF001
_LOOKED_UP = (nn.Embedding, nn.EmbeddingBag)


@dataclass
class _Crossing:
    site: str
    module: nn.Module
    given: Tensor
    made: Tensor


class DataScale(Experiment):
    """Fills ``data_scale``: a row per layer with weights that is the first to see an input.

    None at all where the model has no such layers.
    """

    fact = "data_scale"
    asks_first_pass = True

    def run(self, rig: Rig) -> Iterable[Row]:
        """Look at the first batch as it passed, in the modes that it is trained in."""
        inputs = _floats(rig.call.inputs)
        sizes, keys = {t.numel() for t in inputs}, {_key(t) for t in inputs}
        with torch.no_grad():
            crossed = list(islice(_crossings(rig), _CROSSED))
            entries = [
                number
                for number, crossing in enumerate(crossed)
                if number == 0 or (crossing.given.numel() in sizes and _key(crossing.given) in keys)
            ]
            return [_row(crossed, number) for number in entries[:_ENTRIES]]


def _crossings(rig: Rig) -> Iterator[_Crossing]:
    """The calls of layers with weights, in the order in which they return."""
    entered: list[Crossing[list[Tensor]]] = []
    for crossing in _path(rig):
        if crossing.entering:
            entered.append(crossing)
            continue
        while entered and entered[-1].site != crossing.site:
            entered.pop()  # what it raised was caught by the model
        module = rig.model.get_submodule(crossing.site)
        given, made = _floats(entered.pop().seen if entered else ()), _floats(crossing.seen)
        looked_up = isinstance(module, _LOOKED_UP)
        if made and (given or looked_up) and _has_weights(module):
            first = made[0] if looked_up else given[0]
            yield _Crossing(crossing.site, module, first, _potential(module, first, made[0]))


def _path(rig: Rig) -> list[Crossing[list[Tensor]]]:
    """That of the first pass, where it was heard; else of another."""
    if rig.first is not None and rig.first.heard is not None:
        found: list[Crossing[list[Tensor]]] = rig.first.heard.path
        return found
    call = rig.call
    with crossings(rig.model, list) as path, rig.undisturbed(), torch.no_grad(), rig.autocast():
        call()
    return path


def _floats(tree: Any) -> list[Tensor]:
    plain = (t for t in tensors(tree) if t.layout == torch.strided and not t.is_nested)
    return [t for t in plain if t.is_floating_point() and t.numel()]


def _has_weights(module: nn.Module) -> bool:
    if isinstance(module, (*_KNOWN, *_LOOKED_UP, _NormBase)):
        return True
    return bool(module._parameters) and not any(module.children())  # noqa: SLF001


def _potential(module: nn.Module, given: Tensor, made: Tensor) -> Tensor:
    """What the weights make of it, before a recurrent layer squashes it."""
    weight = getattr(module, "weight_ih_l0", getattr(module, "weight_ih", None))
    if not isinstance(module, _RECURRENT) or not isinstance(weight, Tensor):
        return made
    return nn.functional.linear(given.to(weight.dtype), weight)


def _row(crossed: list[_Crossing], number: int) -> Row:
    crossing = crossed[number]
    weight = next((p for p in crossing.module.parameters() if p.dim() > 1), None)
    trained = weight is not None and is_untrained(weight) is False
    following = crossed[number + 1] if number + 1 < len(crossed) else None
    made = _rms(crossing.made)
    return Row(
        site=crossing.site,
        type=type(crossing.module).__name__,
        normalises=_normalises(crossing.module),
        looks_up=isinstance(crossing.module, _LOOKED_UP),
        trained=trained,
        given=_rms(crossing.given),
        made=made,
        lowest=float(crossing.given.min()),
        highest=float(crossing.given.max()),
        whole_numbers=bool((crossing.given == crossing.given.round()).all()),
        features=crossing.given[0].numel() if crossing.given.dim() > 1 else 1,
        dims=crossing.given.dim(),
        followed_by=following.site if following else None,
        mended=following is not None and _mended(crossing, following),
    )


def _normalises(module: nn.Module) -> bool:
    kinds = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm)
    return isinstance(module, kinds) or "norm" in type(module).__name__.lower()


def _mended(crossing: _Crossing, following: _Crossing) -> bool:
    """Whether what comes next brings it back to size, other than by squashing it to its limits."""
    if isinstance(crossing.module, _RECURRENT):
        return False  # it has squashed them already
    if _normalises(following.module):
        return not 0 < _rms(following.made) < _LOST
    small = _rms(following.given) <= 0.1 * _rms(crossing.made)
    return small and _at_the_edge(following.given) < 0.5  # noqa: PLR2004  most of it


def _at_the_edge(tensor: Tensor) -> float:
    """Share of values at either end of their range: nearly all of a saturated sigmoid's are."""
    low, high = tensor.min(), tensor.max()
    margin = _EDGE * (high - low)
    return float(((tensor <= low + margin) | (tensor >= high - margin)).double().mean())


def _key(tensor: Tensor) -> tuple[float, ...]:
    """Equal for equal tensors, of whatever shape: the model is given copies."""
    return tensor.numel(), float(tensor.sum()), float(tensor.min()), float(tensor.max())


def _rms(tensor: Tensor) -> float:
    numbers = tensor.detach().float()
    finite = numbers.isfinite()
    numbers = numbers if bool(finite.all()) else numbers[finite]
    return float(numbers.square().mean().sqrt()) if numbers.numel() else 0.0
