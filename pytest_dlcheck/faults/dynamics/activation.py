"""What can be wrong with a layer of units, told with cause and remedy. Thresholds are the check's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.faults.readings import Fall
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.verdict import Measure, Suspect

SQUASHERS = frozenset({"sigmoid", "tanh", "hardsigmoid", "hardtanh"})
"""Activations that are flat on both sides."""
_OUTWEIGHS = 3.0
"""A bias that is so many times what the inputs contribute decides alone (ratio); chosen."""
_RAW = 10.0
"""Root mean square of inputs that nobody has normalised; 154 healthy models stay below 3 in hidden
layers, and normalised data is near 1. Chosen."""
_GREW = 2.0
"""How many times its weights have grown (ratio) before that is told."""
_LARGE = 5.0
"""Root mean square of weights times the square root of the fan-in (ratio): 0.6 where torch starts,
1.4 for He's initialisation, at most 4.7 after training in the healthy models where units are judged."""


@dataclass(frozen=True)
class Layer:
    """One activation layer, before and after the training.

    Attributes:
        row: its units after the training.
        start: its units before; None where the first batch did not reach it.
        weights: the layer of weights that feeds it, as the training has left it; empty where unknown.
        weights_at_start: the same before.
    """

    row: Row
    start: Row | None
    weights: Row
    weights_at_start: Row

    @property
    def silent(self) -> float:
        """The share of units that let no gradient through for any sample."""
        return self.row.integer("silent") / max(1, self.row.integer("units", 1))

    @property
    def active(self) -> float:
        """The share of all values that let a gradient through."""
        return self.row.number("active")

    @property
    def squashes(self) -> bool:
        """Whether it saturates, rather than dies."""
        return self.row.text("function").rstrip("_") in SQUASHERS

    @property
    def site(self) -> str:
        """The module that it runs in."""
        return self.row.text("site")

    @property
    def feeder(self) -> str:
        """The weights that feed it."""
        return self.row.text("feeder")

    def was(self) -> str:
        """How it was before the training."""
        return "" if self.start is None else _share(self.start, squashes=self.squashes)


def layers(train: Trace, still: Trace | None) -> list[Layer]:
    """Every activation layer of the training, with what is known of its start."""
    before = {_key(row): row for row in still.rows("units")} if still else {}
    fed = {row.text("site"): row for row in train.rows("signal")}
    first = {row.text("site"): row for row in still.rows("signal")} if still else {}
    return [
        Layer(
            row,
            before.get(_key(row)),
            fed.get(row.text("feeder"), Row()),
            first.get(row.text("feeder"), Row()),
        )
        for row in train.rows("units")
    ]


def lost(dead: Layer | None, layers: Sequence[Layer], count: int, bound: float) -> Fault:
    """Layers that let no gradient through.

    Args:
        dead: the first that was so from the start; None where the training has killed them.
        layers: all that are lost.
        count: how many layers there are.
        bound: the share (ratio) from which on a layer is lost.
    """
    first = dead or layers[0]
    name = "saturated values" if first.squashes else "silent units"
    state = "saturated" if first.squashes else "dead"
    share = 1 - first.active if first.squashes else first.silent
    return Fault(
        because=f"{len(layers)} of {count} activation layers are {state}, such as "
        f"{first.feeder}: {finding(first)} (a layer fails from {bound:.0%})",
        measures=(Measure(name, share, "ratio", bound),),
        suspects=_suspects([first, *(layer for layer in layers if layer is not first)]),
        cause=cause(first, since_start=dead is not None),
        remedy=remedy(first, since_start=dead is not None),
    )


def died_in_peace(layer: Layer, trace: Trace, large: float) -> str:
    """What to say of a layer that died without anything to blame."""
    return (
        f"{advice(layer)} since the training began, though its largest step was "
        f"{longest_step(trace):.2g} of the weights (too large from {large:g}): can anything be learned?"
    )


def finding(layer: Layer) -> str:
    """What is wrong with it, in words."""
    units, name = layer.row.integer("units"), layer.row.text("function").rstrip("_")
    where = f"{name} in {layer.site}"
    if layer.squashes:
        return f"{1 - layer.active:.1%} of its values are saturated ({where})"
    return f"{layer.row.integer('silent')} of its {units} units are 0 for every sample ({where})"


def cause(layer: Layer, *, since_start: bool) -> str:
    """Why its units are lost."""
    weights, site = layer.weights_at_start, layer.feeder
    state = "saturated" if layer.squashes else "dead"
    if not since_start:
        before, after = weights.number("gain"), layer.weights.number("gain")
        grown = f": its weights grew {after / before:.2g} times" if after > _GREW * before > 0 else ""
        return f"{state} since the training began: steps were too large for {site}{grown}"
    state += " from the start"
    scale, gain, bias = (weights.number(name) for name in ("input_rms", "gain", "bias_mean"))
    if abs(bias) > _OUTWEIGHS * gain * scale and (layer.squashes or bias < 0):
        return f"{state}: the bias of {site} is {bias:.3g}, its inputs add about {gain * scale:.2g}"
    if gain > _LARGE:
        return f"{state}: the weights of {site} are too large, {gain:.3g} times what keeps a scale"
    if scale > _RAW:
        return f"{state}: the inputs of {site} are too large (root mean square {scale:.3g})"
    return f"{state}: what {site} gives lies on the flat side for every sample"


def remedy(layer: Layer, *, since_start: bool) -> str:
    """What to do about it."""
    if not since_start:
        return "lower the learning rate, warm it up or clip gradients; or use LeakyReLU or GELU"
    return (
        f"initialise the weights of {layer.feeder} by their fan-in and its bias near 0, "
        "and normalise its inputs"
    )


def longest_step(trace: Trace) -> float:
    """The largest update of all weights together, over their size (ratio); NaN where not recorded."""
    updates, weights = trace.matrix("update_norm"), trace.matrix("parameter_norm")
    sizes = dict(zip(weights.steps, weights.values, strict=True))
    ratios = [
        math.hypot(*(m for m in moves if m is not None)) / size
        for step, moves in zip(updates.steps, updates.values, strict=True)
        if (size := math.hypot(*(w for w in sizes.get(step, ()) if w is not None))) > 0
    ]
    return max(ratios, default=math.nan)


def rises(trace: Trace) -> bool:
    """Whether the loss on fixed batches surely ended above where it began."""
    fall = Fall.of(trace)
    return fall is not None and fall.drop.high < 0 and fall.after > fall.before


def advice(layer: Layer) -> str:
    """What to say of a layer that is only in part lost."""
    return f"{layer.feeder}: {finding(layer)}"


def _key(row: Row) -> tuple[str, str]:
    return row.text("site"), row.text("feeder")


def _share(row: Row, *, squashes: bool) -> str:
    if squashes:
        return f"{1 - row.number('active'):.0%} before the training"
    return f"{row.integer('silent')} before the training"


def _suspects(layers: Iterable[Layer]) -> list[Suspect]:
    """Where to look: the weights that feed an activation, and the activation."""
    found: dict[str, Suspect] = {}
    for place in (place for layer in layers for place in _places(layer)):
        found.setdefault(place.site, place)
    return list(found.values())


def _places(layer: Layer) -> list[Suspect]:
    found = f"{finding(layer)}; {layer.was()}" if layer.was() else finding(layer)
    places = [Suspect(layer.feeder, found)]
    if layer.site not in {layer.feeder, "model"} and not layer.feeder.startswith(f"{layer.site}."):
        places.append(Suspect(layer.site, f"fed by {layer.feeder}"))
    return places
