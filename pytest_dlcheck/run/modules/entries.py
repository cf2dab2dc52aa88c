"""The layers with weights that meet the data first: how large these are there. It judges nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from pytest_dlcheck.run.modules.freshness import is_untrained
from pytest_dlcheck.run.tensors.tree import tensors
from pytest_dlcheck.trace import Row

_LOST = 0.1
"""RMS of a norm's outputs below which its epsilon was larger than the variance it divides by."""
_EDGE = 0.02
"""Distance from the ends of its range, relative to the range, within which a value is at the edge."""
_RECURRENT = (nn.RNNBase, nn.RNNCellBase)
_KNOWN = (nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd, nn.MultiheadAttention, *_RECURRENT)  # noqa: SLF001
LOOKED_UP = (nn.Embedding, nn.EmbeddingBag)


@dataclass
class Entry:
    """A call of a layer with weights.

    Attributes:
        site: its dotted name.
        module: the layer.
        given: what it was given, the first floating tensor; what was looked up, of an embedding.
        made: what its weights made of it.
    """

    site: str
    module: nn.Module
    given: Tensor
    made: Tensor


def entry_of(site: str, module: nn.Module, given: Any, output: Any) -> Entry | None:
    """A call as that of a layer with weights; None where it is none.

    Args:
        site: the module's dotted name.
        module: which was called.
        given: on what, as a nest.
        output: what it gave, as a nest.
    """
    taken, made, looked_up = floats(given), floats(output), isinstance(module, LOOKED_UP)
    if not made or not (taken or looked_up) or not has_weights(module):
        return None
    first = made[0] if looked_up else taken[0]
    return Entry(site, module, first, _potential(module, first, made[0]))


def floats(tree: Any) -> list[Tensor]:
    """The floating tensors of a nest that hold numbers as they lie."""
    plain = (t for t in tensors(tree) if t.layout == torch.strided and not t.is_nested)
    return [t for t in plain if t.is_floating_point() and t.numel()]


def has_weights(module: nn.Module) -> bool:
    """Whether it is a layer with weights, and no mere container of such."""
    if isinstance(module, (*_KNOWN, *LOOKED_UP, _NormBase)):
        return True
    return bool(module._parameters) and not any(module.children())  # noqa: SLF001


def _potential(module: nn.Module, given: Tensor, made: Tensor) -> Tensor:
    """What the weights make of it, before a recurrent layer squashes it.

    Of plain parameters only: those that are computed anew when they are asked for may draw or count.
    """
    own = module._parameters if isinstance(module, _RECURRENT) else {}  # noqa: SLF001  as above
    weight = own.get("weight_ih_l0", own.get("weight_ih"))
    if weight is None:
        return made
    with torch.no_grad():
        return nn.functional.linear(given.detach().to(weight.dtype), weight.detach())


def entry_row(crossed: Sequence[Entry], number: int) -> Row:
    """How large the data are at one of the layers; reads the device.

    Args:
        crossed: layers with weights in the order of their calls.
        number: of the layer among them.
    """
    crossing = crossed[number]
    weight = next((p for p in crossing.module.parameters() if p.dim() > 1), None)
    trained = weight is not None and is_untrained(weight) is False
    following = crossed[number + 1] if number + 1 < len(crossed) else None
    made = _rms(crossing.made)
    return Row(
        site=crossing.site,
        type=type(crossing.module).__name__,
        normalises=_normalises(crossing.module),
        looks_up=isinstance(crossing.module, LOOKED_UP),
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


def _mended(crossing: Entry, following: Entry) -> bool:
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


def _rms(tensor: Tensor) -> float:
    numbers = tensor.detach().float()
    finite = numbers.isfinite()
    numbers = numbers if bool(finite.all()) else numbers[finite]
    return float(numbers.square().mean().sqrt()) if numbers.numel() else 0.0
