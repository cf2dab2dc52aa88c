"""Measures the signal on its way through a model, and the units that let it pass. It judges nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.calls.attention import sure_rows
from pytest_dlcheck.run.calls.threads import (
    Activation,
    Listener,
    Thread,
    Weighing,
    argument,
    followed,
    is_compiled,
)
from pytest_dlcheck.run.calls.torch_functions import TRANSPOSED
from pytest_dlcheck.run.errors import CannotTellError
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import batch_size, copied
from pytest_dlcheck.trace import Row

OUTPUT = "<output>"
"""The site of what the model returns."""
COMPILED = "the model is compiled: activations inside it are not observed"
_UNIT_DIMS = (1, 1, 1, 2)
"""The axis of units where it was lost, by the number of axes; 1 from four axes on."""
_LITTLE = 0.01
"""Share of an activation's largest slope below which it is flat: sigmoid beyond 6, tanh beyond 3."""
LIVELY = 0.1
"""Share of its values that every unit lets through, from which on no more samples are needed: twice what
a whole layer of saturating units needs, and a unit of rectifiers needs a single one."""
_BELOW = {"gelu": -3.2, "silu": -6.5, "elu": -4.6, "selu": -4.6, "celu": -4.6, "hardswish": -3.0}
"""Where the slopes of the smooth rectifiers fall below that, and stay there."""


@dataclass
class _Units:
    """One activation layer, over all its calls."""

    name: str
    counts: list[Tensor] = field(default_factory=list)
    """How often each unit let something through, a call each,"""
    entries: list[int] = field(default_factory=list)
    """and how often it might have."""
    samples: int = 0
    is_output: bool = False


class Sounding(Listener):
    """Fills the facts ``units`` and ``signal`` from calls of the model."""

    def __init__(self, dim: int | None) -> None:
        self._dim = dim
        self._units: dict[tuple[str, str], _Units] = {}
        self._signal: dict[str, dict[str, Any]] = {}
        self._samples = 0

    def begin_batch(self, samples: int | None) -> None:
        """A batch is about to pass."""
        self._samples = samples or 0

    def begin(self, rig: Rig, batch: Any) -> None:
        """This batch is about to pass."""
        dim = rig.recipe.batch_dim
        self.begin_batch(None if dim is None else batch_size(batch, dim))

    def weighed(self, weighing: Weighing) -> None:
        """Measure what weights are given, and what they give."""
        site = weighing.site
        if site in self._signal:
            return
        x, out = weighing.given.detach(), weighing.result.detach()
        if not x.numel() or not out.numel() or out.is_complex():
            return
        self._signal[site] = {
            "site": site,
            "depth": len(weighing.thread.chain) + 1,
            "fan_in": _fan_in(weighing),
            "gain": _rms(weighing.weight.detach()) * _fan_in(weighing) ** 0.5,
            "trains": weighing.weight.requires_grad,
            "normalised": False,
            "input_rms": _rms(x),
            "input_spread": self._spread(x),
            "output_rms": _rms(out),
            "output_spread": self._spread(out),
            "bias_rms": None if weighing.bias is None else _rms(weighing.bias.detach()),
            "bias_mean": None if weighing.bias is None else weighing.bias.detach().float().mean(),
        }

    def normalised(self, site: str, direct: str, scale: Tensor | None, shift: Tensor | None) -> None:
        """Remember that the size of what weights give does not matter, and what comes instead."""
        if direct in self._signal:
            self._signal[direct]["normalised"] = True
        if shift is not None and site not in self._signal:
            self._signal[site] = {
                "site": site,
                "gain": 1.0 if scale is None else _rms(scale.detach()),
                "input_rms": 1.0,
                "bias_mean": shift.detach().float().mean(),
            }

    def grouped(self, site: str, shape: tuple[int, ...], together: int) -> None:
        """Remember who takes single values for all there is, which leaves nothing of them."""
        if together == 1:
            row = self._signal.setdefault(site, {"site": site, "gain": 1.0, "input_rms": 1.0})
            row |= {"single": True, "shape": str(shape)}

    def attended(self, site: str, name: str, call: tuple[tuple[Any, ...], dict[str, Any]]) -> None:
        """Measure how sure attention is of one place, in its first call of a site."""
        if torch.is_grad_enabled() and "sure" not in self._signal.get(site, {}):
            share = sure_rows(name, call)
            if share is not None:
                row = self._signal.setdefault(site, {"site": site, "gain": 1.0, "input_rms": 1.0})
                row["sure"] = share

    def activated(self, activation: Activation) -> None:
        """Count the units that let a gradient through."""
        mask = None if activation.result.is_complex() else _lets_through(activation)
        if mask is None or not mask.numel():
            return
        axis = activation.thread.axis
        if axis is None or axis >= mask.dim():
            axis = _UNIT_DIMS[mask.dim()] if mask.dim() < len(_UNIT_DIMS) else 1
        mask = mask.movedim(axis, 0) if mask.dim() > 1 else mask.reshape(1, -1)
        units = self._units.setdefault(activation.key, _Units(activation.name))
        counts = mask.sum(list(range(1, mask.dim())), dtype=_counting(mask))
        if units.counts and units.counts[0].shape != counts.shape:
            return
        units.counts.append(counts)
        units.entries.append(mask.numel() // len(counts))
        units.samples += self._samples

    def returned(self, threads: list[tuple[Tensor, Thread]]) -> None:
        """Remember which activations gave the outputs, and how far samples differ in these."""
        if OUTPUT not in self._signal:
            found = [(self._spread(tensor.detach()), tensor.detach()) for tensor, _ in threads]
            known = [(spread, x) for spread, x in found if spread is not None and x.numel()]
            if known:
                spread, x = max(known, key=lambda pair: float(pair[0]))
                self._signal[OUTPUT] = {"site": OUTPUT, "input_rms": _rms(x), "input_spread": spread}
        for _, thread in threads:
            if thread.activation in self._units:
                self._units[thread.activation].is_output = True

    def is_lively(self) -> bool:
        """Whether every unit that was met lets enough through that more samples would not tell more."""
        known = [one for one in self._units.values() if one.counts]
        return bool(known) and all(float(_shares(one).min()) >= LIVELY for one in known)

    def units(self) -> tuple[Row, ...]:
        """A row per activation layer, in the order of first calls."""
        return tuple(_units_row(key, units) for key, units in self._units.items() if units.counts)

    def signal(self) -> tuple[Row, ...]:
        """A row per layer of weights, in the order of first calls."""
        return tuple(
            Row({name: float(v) if isinstance(v, Tensor) else v for name, v in found.items()})
            for found in self._signal.values()
        )

    def _spread(self, x: Tensor) -> Tensor | None:
        """How far the samples of a batch differ: standard deviation, root mean square over features."""
        if self._dim is None or x.dim() <= self._dim or x.size(self._dim) < 2:  # noqa: PLR2004
            return None
        far = x.float() - x.select(self._dim, 0).unsqueeze(self._dim).float()  # exactly 0 where alike
        return (_mean_square(far) - _mean_square(far.mean(self._dim))).clamp_(min=0).sqrt_()


def sound(rig: Rig, batches: Iterable[Any]) -> Sounding:
    """Let batches pass, in the modes of training, without gradients where that can be.

    Raises:
        CannotTellError: the model is compiled.
    """
    if is_compiled(rig.model):
        raise CannotTellError(COMPILED)
    with rig.undisturbed(), sounding(rig) as found:
        for batch in batches:
            found.begin(rig, batch)
            _pass(rig, batch)
    return found


@contextmanager
def sounding(rig: Rig) -> Iterator[Sounding]:
    """Sound whatever passes meanwhile through a model that is not compiled."""
    found = Sounding(rig.recipe.batch_dim)
    with followed(rig.model, found):
        yield found


def _pass(rig: Rig, batch: Any) -> None:
    try:
        with torch.no_grad(), rig.autocast():
            _once(rig, copied(batch))
    except RuntimeError:  # a step that differentiates by itself, such as a gradient penalty
        with torch.enable_grad(), rig.autocast():
            _once(rig, copied(batch))


def _once(rig: Rig, batch: Any) -> None:
    if not rig.objective.is_generator:
        rig.objective.raw_loss(batch)
        return
    for _ in rig.objective.objectives(batch):
        pass


def _shares(units: _Units) -> Tensor:
    """How much of its values each unit lets through, float64 of shape ``[units]`` on the CPU."""
    counts = torch.stack(units.counts).cpu().double()
    return (counts / torch.tensor(units.entries, dtype=torch.float64).unsqueeze(1)).mean(0)


def _units_row(key: tuple[str, str], units: _Units) -> Row:
    site, feeder = key
    shares = _shares(units)
    return Row(
        site=site,
        feeder=feeder,
        function=units.name,
        units=len(shares),
        silent=int((shares == 0).sum()),
        active=float(shares.mean()),
        entries=sum(units.entries),
        samples=units.samples,
        output=units.is_output,
    )


def _fan_in(weighing: Weighing) -> float:
    weight = weighing.weight
    if weighing.name in TRANSPOSED:
        stride = next((s for s in weighing.options if isinstance(s, (int, tuple))), 1)
        strides = stride if isinstance(stride, tuple) else (stride,) * (weight.dim() - 2)
        return max(1.0, weight.numel() / weight.size(1) / prod(strides))
    if weighing.name == "linear" or weighing.name.startswith("conv"):
        return max(1.0, weight.numel() / max(1, weight.size(0)))
    return float(weight.size(-2)) if weight.dim() > 1 else float(weight.numel())


def _rms(tensor: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(tensor.float())
    return norm / float(max(1, tensor.numel()) ** 0.5)


def _mean_square(tensor: Tensor) -> Tensor:
    return _rms(tensor).square_()


def _lets_through(activation: Activation) -> Tensor | None:
    """Where its slope is not flat, as 1 or True; None where it is always steep, or that is not known."""
    y, x = activation.result.detach(), activation.given
    name = activation.name.rstrip("_")
    if name == "relu":
        return y.sign().nan_to_num_(0.0)  # a third of the time of a comparison and its sum
    if name in {"clamp", "clamp_min"}:
        return y > 0
    if name in _BELOW:
        return None if x is None else x.detach() > _BELOW[name]
    simple: Mapping[str, Callable[[], Tensor]] = {
        "relu6": lambda: (y > 0) & (y < 6),  # noqa: PLR2004
        "threshold": lambda: y != argument(activation, 2, "value", 0.0),
        "sigmoid": lambda: 4 * y * (1 - y) > _LITTLE,
        "hardsigmoid": lambda: (y > 0) & (y < 1),
        "tanh": lambda: y.square() < 1 - _LITTLE,
        "hardtanh": lambda: _between(activation),
    }
    return simple[name]() if name in simple else None


def _counting(mask: Tensor) -> torch.dtype:
    """What its ones are counted in: floats as they are, as far as these hold whole numbers exactly."""
    whole = 1 / torch.finfo(torch.float32).eps
    return torch.float32 if mask.is_floating_point() and mask.numel() <= whole else torch.int64


def _between(activation: Activation) -> Tensor:
    low, high = (argument(activation, i, n, d) for i, n, d in ((1, "min_val", -1), (2, "max_val", 1)))
    y = activation.result.detach()
    inside: Tensor = (y > low) & (y < high)
    return inside
