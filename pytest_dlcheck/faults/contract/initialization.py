"""What can be wrong with initial weights, told with cause and remedy. Thresholds are the check's."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pytest_dlcheck.faults.contract.attention import advice_on_attention
from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.verdict import Measure, Suspect

OUTPUT = "<output>"
"""The row of the model's outputs among those of its layers."""
_REGRESSION = frozenset({"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"})
_SQUASHERS = frozenset({"sigmoid", "tanh", "hardsigmoid", "hardtanh"})
_LARGE = 2.5
"""Root mean square of weights times the square root of the fan-in (ratio), from which on they enlarge
a signal: it is 0.6 where torch starts, 1 for LeCun's initialisation and 1.4 for He's."""
_HALF_OPEN = 0.45
"""Share of values of hidden sigmoids and tanhs that are not saturated (ratio) below which they are
mostly flat. Of 163 healthy models all have more than 0.48 at their start."""
_FAR_TOO_LARGE = 5.0
"""The same as for what enlarges a signal, from which on that is surely not meant: N(0, 1) at a fan-in
of 30 has 5.5; chosen."""
_SMALL = 0.3
"""The same, below which weights shrink a signal: an N(0, 0.02) at a width of 225."""
_RAW = 10.0
"""Root mean square of inputs that nobody has normalised; of data, not of the initialisation."""
_SHOWN = 6
_AT_RANDOM = (
    "draw weights at random (nn.init.kaiming_normal_, xavier_uniform_); constants are for biases, "
    "normalisations and the last layer of a residual branch"
)


@dataclass(frozen=True)
class Signal:
    """What is left of the inputs on their way through the layers.

    Attributes:
        rows: the layers of weights, in the order of their calls.
    """

    rows: Sequence[Row]

    @property
    def measured(self) -> list[Row]:
        """The layers where samples could be told apart."""
        known = (row for row in self.rows if row.text("site") != OUTPUT)
        return [row for row in known if row.get("input_spread") is not None]

    @property
    def first(self) -> Row:
        """The layer nearest to the inputs."""
        return min(self.measured, key=lambda row: row.integer("depth"))

    @property
    def deepest(self) -> Row:
        """The layer with the longest way behind it."""
        return max(self.measured, key=lambda row: row.integer("depth"))

    def left(self, site: str, first: Row) -> float:
        """What is left of the difference between samples both before a layer and in the outputs.

        The deepest layer may be on a way that leads from no input, such as one of learned prototypes.
        NaN where one of them was not seen.
        """
        both = (strength(self.at(site), first), strength(self.at(OUTPUT), first))
        return max(both) if not any(map(math.isnan, both)) else math.nan

    @property
    def single(self) -> list[Row]:
        """The normalisations that take each value by itself, so that nothing is left of it."""
        return [row for row in self.rows if row.flag("single")]

    def at(self, site: str) -> Row:
        """A layer by its name; an empty row where it was not called."""
        return next((row for row in self.rows if row.text("site") == site), Row())


def contrast(row: Row) -> float:
    """How far samples differ in what a layer is given, relative to its size (ratio); NaN if unknown."""
    size = row.number("input_rms")
    return 0.0 if size == 0 else row.number("input_spread") / size


def strength(row: Row, first: Row) -> float:
    """What is left there of the difference between samples: relative to the signal, and at all.

    Args:
        row: the layer.
        first: the layer nearest to the inputs, whose own scale is not held against the weights.
    """
    unit = min(1.0, first.number("input_spread"))
    spread = row.number("input_spread") / unit if unit > 0 else 0.0
    return min(contrast(row), spread) if not math.isnan(spread) else math.nan


def symmetric(rows: Sequence[Row], layers: int) -> Fault:
    """Units that are one and the same for ever."""
    first = rows[0]
    what = _what(first)
    return Fault(
        because=f"all {first.integer('units')} units of {first.text('site')} start alike ({what}) and "
        f"get the same gradient at each of 4 steps: {len(rows)} of {layers} layers (0 expected)",
        suspects=[
            Suspect(row.text("site"), f"{row.integer('units')} units, all alike: {_what(row)}")
            for row in rows
        ],
        cause=f"{first.text('site')} is initialised without chance ({what}), so that its units can "
        "never differ",
        remedy=_AT_RANDOM,
        measures=(Measure("layers of equal units", len(rows), "count", 0),),
    )


def together(rows: Sequence[Row], most: float) -> Fault:
    """Units that started as copies, and still do the work of one."""
    worst = max(rows, key=lambda row: row.number("together"))
    site, share = worst.text("site"), worst.number("together")
    return Fault(
        because=f"the units of {site} start as copies of one, and after the training {share:.0%} of "
        f"their differences lie along a single direction (at most {most:.0%})",
        suspects=[
            Suspect(
                row.text("site"), f"copies; {row.number('together'):.0%} of their differences are one"
            )
            for row in rows
        ],
        cause=f"{site} is initialised without chance: its units do the work of one or two",
        remedy=_AT_RANDOM,
        measures=(Measure("differences along one direction", share, "ratio", most),),
    )


def faint(signal: Signal, units: Sequence[Row], least: float) -> Fault:
    """A signal that is lost on its way, past these activations."""
    first, last = signal.first, signal.deepest
    if signal.single:
        return _levelled(signal, least)
    small = [row for row in signal.measured if row.number("gain") < _SMALL and row.flag("trains")]
    depth = last.integer("depth")
    why = (
        f"the weights of {small[0].text('site')} and {len(small) - 1} more are too small: "
        f"{small[0].number('gain'):.2g} times what keeps a signal's scale"
        if small
        else f"{depth} layers{_with(units)} without normalisation or shortcuts, each of which shrinks "
        "the signal"
    )
    left = strength(last, first)
    places = small or [row for row in signal.measured if row.flag("trains")]
    return Fault(
        because=f"of the difference between samples {left:.1e} is left at {last.text('site')}, "
        f"{depth} layers deep, before the training and after (at least {least:.0e})",
        suspects=[
            Suspect(
                row.text("site"),
                f"gain {row.number('gain'):.2g}, {strength(row, first):.1e} left before it",
            )
            for row in places
        ],
        cause=f"the output does not depend on the input: {why}",
        remedy="initialise by the fan-in (nn.init.kaiming_normal_ for ReLU, xavier for tanh), or add "
        "normalisation or residual connections",
        measures=(Measure("difference between samples", left, "ratio", least, ">="),),
    )


def _levelled(signal: Signal, least: float) -> Fault:
    """A signal that ends where a normalisation takes single values."""
    last, row = signal.deepest, signal.single[0]
    left, site, remedy = strength(last, signal.first), row.text("site"), "normalise several values"
    return Fault(
        because=f"of the difference between samples {left:.1e} is left at {last.text('site')}, before "
        f"the training and after (at least {least:.0e}): {site} normalises single values",
        suspects=[
            *(
                Suspect(one.text("site"), f"normalises single values of a tensor {one.text('shape')}")
                for one in signal.single
            ),
            *(
                Suspect(one.text("site"), f"{strength(one, signal.first):.1e} left before it")
                for one in signal.measured
                if one.flag("trains")
            ),
        ],
        cause=f"{site} normalises every value of a tensor {row.text('shape')} by itself: a value less "
        "its own mean is 0, so that it gives its bias whatever it is given",
        remedy=f"{remedy} together: fewer groups, a longer normalized_shape, or before the pooling",
        measures=(Measure("difference between samples", left, "ratio", least, ">="),),
    )


def that_stands_out(signal: Signal) -> Iterator[str]:
    """What to say of such normalisations where the signal has another way, and of sure attention."""
    yield from advice_on_attention(signal.rows)
    for row in signal.single:
        yield (
            f"{row.text('site')} normalises every value of a tensor {row.text('shape')} by itself: it "
            "gives its bias, whatever it is given"
        )


def over_scaled(signal: Signal, row: Row, ratio: float, most: float, scale: float) -> Fault | None:
    """Outputs that are too large because of the weights; None where these are not to blame."""
    large = enlarging(signal.rows)
    if not large or signal.first.number("input_rms") > _RAW:
        return None
    top = large[0]
    outputs = "outputs over the scale of targets" if is_regression(row) else "the spread of logits"
    return Fault(
        because=f"{outputs} is {scale:.4g} (at most {most:g}) and the loss {ratio:.3g} times that of no "
        f"knowledge before any training: the weights of {top.text('site')} enlarge {_gain(top)}",
        suspects=_enlargers(large),
        cause=_too_large(large),
        remedy=_BY_FAN_IN,
        measures=(Measure(outputs, scale, "ratio", most),),
    )


def flat(still: Trace, ends: Sequence[Trace], least: float, worse: float) -> Iterator[Fault]:
    """Layers of squashed units that start flat because of their weights, and stay so.

    Where a model starts with confident nonsense, and its weights are far too large, mostly flat is
    flat enough.

    Args:
        still: before the training.
        ends: after it, a trace per seed.
        least: the share of open values (ratio) that is too small by itself.
        worse: the loss over that of no knowledge (ratio) from which on that is nonsense.
    """
    signal = Signal(still.rows("signal"))
    nonsense = any(loss_ratio(row) > worse for row in still.rows("initial_loss"))
    for bound, gain in ((least, _LARGE), *([(_HALF_OPEN, _FAR_TOO_LARGE)] if nonsense else [])):
        units = saturated(still, bound)
        if units and all(saturated(trace, bound) for trace in ends):
            fault = saturating(signal, units, bound, gain)
            yield from [fault] if fault else []


def saturating(signal: Signal, units: Sequence[Row], least: float, gain: float) -> Fault | None:
    """Squashed units that are flat for too many samples, because of weights of such a gain or more."""
    feeders = [signal.at(row.text("feeder")) for row in units]
    raw = [row for row in feeders if row.number("input_rms") <= _RAW]
    large = [row for row in enlarging(raw) if row.number("gain") > gain]
    if not large:
        return None
    first = next(row for row in units if row.text("feeder") == large[0].text("site"))
    return Fault(
        because=f"{1 - first.number('active'):.1%} of the values of {first.text('site')} "
        f"({first.text('function')}) are saturated, before the training and after "
        f"(at most {1 - least:.0%})",
        suspects=_enlargers(large),
        cause=_too_large(large),
        remedy=_BY_FAN_IN,
        measures=(Measure("open values", first.number("active"), "ratio", least, ">="),),
    )


def saturated(trace: Trace, least: float) -> list[Row]:
    """Layers of squashed hidden units that are flat for nearly all samples."""
    return [
        row
        for row in trace.rows("units")
        if row.text("function").rstrip("_") in _SQUASHERS
        and not row.flag("output")
        and row.number("active") < least
    ]


def alike(row: Row) -> str:
    """What to say of units that start as copies and are told apart all the same; empty for zeros."""
    if not row.flag("by_chance") and not row.number("largest") > 0:
        return ""
    what = "dropout alone tells" if row.flag("by_chance") else "only the weights behind them tell"
    return f"all units of {row.text('site')} start alike ({_what(row)}): {what} them apart"


def shrinking(signal: Signal) -> str:
    """What to say of a signal that is weak, but there."""
    last = signal.deepest
    return (
        f"before the training, {strength(last, signal.first):.1e} of the difference between samples is "
        f"left at {last.text('site')}, {last.integer('depth')} layers deep; the training mended that"
    )


def enlarging(rows: Iterable[Row]) -> list[Row]:
    """Layers whose weights are too large, and not made up for by a normalisation, the worst first."""
    counts = (row for row in rows if row.flag("trains") and not row.flag("normalised"))
    large = [row for row in counts if row.number("gain") > _LARGE]
    return sorted(large, key=lambda row: -row.number("gain"))


def loss_ratio(row: Row) -> float:
    """The loss at the start over that of a model that knows nothing (ratio)."""
    known = [row.number("uninformed"), *([row.number("zero")] if row.get("zero") is not None else [])]
    return row.number("loss") / max(*known, 1e-12)


def output_scale(row: Row) -> float:
    """How large outputs are: the spread of logits, or relative to targets."""
    size = max(row.number("target_scale"), 1.0) if is_regression(row) else 1.0
    return row.number("spread") / size


def is_regression(row: Row) -> bool:
    """Whether outputs are measured against targets."""
    return row.text("kind") in _REGRESSION


def _enlargers(large: Sequence[Row]) -> list[Suspect]:
    return [Suspect(row.text("site"), f"its weights enlarge {_gain(row)}") for row in large]


_BY_FAN_IN = "initialise by the fan-in (nn.init.kaiming_normal_ for ReLU, xavier for tanh and sigmoid)"


def _too_large(large: Sequence[Row]) -> str:
    names = ", ".join(row.text("site") for row in large[:_SHOWN])
    return f"initial weights are too large: {names} (up to {large[0].number('gain'):.3g} times)"


def _gain(row: Row) -> str:
    return f"a signal {row.number('gain'):.3g} times (1.4 by He's initialisation)"


def _with(units: Sequence[Row]) -> str:
    names = Counter(row.text("function").rstrip("_") for row in units)
    return f" with {names.most_common(1)[0][0]}" if names else ""


def _what(row: Row) -> str:
    if row.flag("constant"):
        return f"every weight is {row.number('value'):.4g}"
    return "their weights are copies"
