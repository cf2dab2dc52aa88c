"""What is wrong with the samples themselves, told in words. Whether it is a fault: the check's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.faults.readings import Fit
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.verdict import Measure, Suspect

_CLEAN = "drop or impute them where the data is made, and assert torch.isfinite(x).all() there"
STANDARDISE = "standardise each feature by mean and standard deviation of the training data"
PIXELS = "divide pixels by 255 and normalise them (v2.ToDtype(torch.float32, scale=True), v2.Normalize)"
_INTERLEAVED = 0.1
"""By how much values three apart along a row must be more alike than nearer ones (correlation); chosen,
images lie below 0, and colours in turn at 0.15 and more unless they are all grey."""
HUGE = 50.0
"""RMS of the first layer's outputs beyond reach: up to 1.2 in the zoo, of raw features 137."""
BYTES = 10.0
"""The same where inputs are bytes of images, which is certain to be a mistake; digits give 70."""
_ONCE = "scale inputs once, to a mean of 0 and a standard deviation of 1"


def looked_at(row: Row) -> str:
    """How many samples that was, of how many."""
    total = row.get("total")
    of = f" of {row.integer('total'):,}" if total is not None and not row.flag("whole") else ""
    return f"{row.integer('samples'):,}{of} samples looked at"


def made(entries: Iterable[Row]) -> float:
    """The rms of what the first layers make of inputs that nothing scales; 0 where there are none."""
    return max((e.number("made") for e in entries if not at_ease(e)), default=0.0)


def sound(row: Row, rms: float, bound: float) -> str:
    """What was looked at, and what the first layer makes of inputs that nothing scales."""
    outputs = f"; the first layer's outputs have rms {rms:.2g} (bound {bound:g})" if rms else ""
    return f"{looked_at(row)}{outputs}"


def not_finite(row: Row) -> Fault:
    """NaN or infinity in a sample."""
    kind = "infinity" if not row.integer("nan_samples") else "NaN"
    kind = "NaN or infinity" if row.integer("inf_samples") and row.integer("nan_samples") else kind
    bad, samples = row.integer("bad_samples"), row.integer("samples")
    place = f"{row.text('place')}, {row.text('bad_feature')}".rstrip(", ")
    return Fault(
        f"{bad} of {samples} samples looked at hold {kind} (bound 0): {place}, first in sample "
        f"{row.integer('first_bad')}",
        (Measure("samples that are not finite", bad / samples, "ratio", 0.0),),
        [
            Suspect(
                "data",
                f"{place}: {kind} in {bad} of {samples} samples, first in sample "
                f"{row.integer('first_bad')}",
                _CLEAN,
            )
        ],
        cause=f"the data holds {kind} in {place}: one such sample makes loss and weights NaN",
        remedy=_CLEAN,
    )


def same_inputs(rows: list[Row], targets: Iterable[Row]) -> Fault:
    """Every sample has the same inputs."""
    first = rows[0]
    names = ", ".join(row.text("place") for row in rows)
    vary = any(row.integer("distinct", 1) > 1 for row in targets)
    cause = (
        "all samples have the same inputs, so nothing tells their targets apart"
        if vary
        else "all samples are the same sample: does __getitem__ use its index?"
    )
    value = (
        f", all {first.number('lowest'):.4g}"
        if first.number("lowest") == first.number("highest")
        else ""
    )
    return Fault(
        f"1 distinct input in {looked_at(first)} (bound 2): {names}{value}",
        (Measure("distinct inputs", 1, "count", 2, ">="),),
        [
            Suspect(
                "data", f"{names}: the same in every sample{value}", "look at two samples side by side"
            )
        ],
        cause=cause,
        remedy="print train_data[0] and train_data[1]: index, transforms and scaling come first",
    )


def distinct_share(row: Row) -> float:
    """The share (ratio) of distinct samples; 1 where repetition is natural: few or whole numbers."""
    real = row.integer("features") >= 8 and row.get("whole_numbers") is False  # noqa: PLR2004
    if not real or not row.flag("whole") or row.integer("samples") < 256:  # noqa: PLR2004  few repeat
        return 1.0
    return row.integer("distinct") / row.integer("samples")


def few_samples(row: Row, bound: float) -> Fault:
    """A handful of samples that come again and again; at least the bound (ratio) should be distinct."""
    distinct, samples = row.integer("distinct"), row.integer("samples")
    return Fault(
        f"{distinct} distinct among {looked_at(row)}: {distinct / samples:.1%} (bound {bound:.0%})",
        (Measure("distinct samples", distinct / samples, "ratio", bound, ">="),),
        [Suspect("data", f"{row.text('place')}: only {distinct} of {samples:,} samples are distinct")],
        cause=f"the data set gives {distinct} samples again and again: is its index cut or taken "
        "modulo?",
        remedy="look at __getitem__ and at what the index selects; of few samples on purpose, say "
        "so by len",
    )


def same_targets(row: Row) -> Fault:
    """Every sample has the same target."""
    classes = row.text("label_kind") == "classes"
    value = row.integer("commonest") if classes else f"{row.number('mean'):.4g}"
    what = "class" if classes else "target"
    return Fault(
        f"1 {what} ({value}) in {looked_at(row)} (bound 2): every prediction of it is right",
        (Measure("distinct targets", 1, "count", 2, ">="),),
        [Suspect("data", f"{row.text('place')}: {value} in every sample", "check how labels are made")],
        cause=f"all targets are {value}: the model can only learn to say so",
        remedy="check how labels are read and encoded, and what the subset or the split keeps",
    )


def too_large(entry: Row, table: Row | None, bound: float) -> Fault:
    """Inputs that meet their first weights unscaled."""
    site, made = entry.text("site") or "the model", entry.number("made")
    what = "pixels from 0 to 255" if is_pixels(entry) else "features that are not scaled"
    remedy = PIXELS if is_pixels(entry) else STANDARDISE
    return Fault(
        f"{what} reach {site} ({entry.text('type')}): its outputs have rms {made:.3g} (bound "
        f"{bound:g}), its inputs {entry.number('given'):.3g} where the initialisation expects about 1",
        (
            Measure("rms of the first layer's outputs", made, "ratio", bound),
            Measure("rms of its inputs", entry.number("given"), "ratio"),
        ),
        [
            Suspect("data", f"{value_range(entry)}{unequal(table)}", remedy),
            Suspect(entry.text("site"), f"gets them as they are: outputs of rms {made:.3g}", remedy),
        ],
        cause=f"{what}: the initialisation and the learning rate are made for inputs of about unit "
        "scale",
        remedy=remedy,
    )


def divided_twice(entry: Row) -> Fault:
    """Pixels that were scaled to 0..1 and then divided by 255 again."""
    highest = entry.number("highest")
    return Fault(
        f"inputs of {entry.text('site') or 'the model'} lie in 0..{highest:.4g}: 255 times smaller "
        "than 0..1 (bound 1)",
        (Measure("largest input", highest, "ratio", 1.0, ">="),),
        [Suspect("data", f"{value_range(entry)}: exactly 1/255 at most", "divide by 255 once")],
        cause="pixels are divided by 255 twice: ToTensor and its like have done it already",
        remedy="remove one of the two divisions by 255",
    )


def too_small(entry: Row, fit: Fit, bound: float) -> Fault:
    """Inputs so small that a batch cannot be learned from them."""
    site, given = entry.text("site") or "the model", entry.number("given")
    return Fault(
        f"inputs reach {site} ({entry.text('type')}) with an rms of {given:.2g} (bound {bound:g}; about "
        f"1 is expected), and a small batch is not learned: {fit.progress:.1%} of its way",
        (Measure("rms of the first layer's inputs", given, "ratio", bound, ">="),),
        [
            Suspect("data", f"{value_range(entry)}: scaled down too far", _ONCE),
            Suspect(entry.text("site"), f"its inputs vanish beside its bias: rms {given:.2g}", _ONCE),
        ],
        cause="inputs are scaled down too far, as pixels are that are divided by 255 twice: what tells "
        "samples apart is lost beside biases and the epsilon of a normalisation",
        remedy=_ONCE,
    )


def is_beyond(entry: Row, huge: float, pixels: float) -> bool:
    """Whether inputs are beyond reach: ``pixels`` is the bound where they are bytes (rms)."""
    bound = pixels if is_pixels(entry) else huge
    return min(entry.number("made"), entry.number("given")) >= bound


def are_tiny(entries: Iterable[Row], bound: float) -> bool:
    """Whether all inputs are smaller than the bound (rms), and nothing makes up for it."""
    some = [0 < e.number("given") < bound and not at_ease(e) for e in entries]
    return bool(some) and all(some)


def stuck(trainings: Iterable[Trace], share: float) -> Fit | None:
    """How a batch was not learned, less than that share (ratio) of its way; None where it was."""
    fits = [fit for trace in trainings if (fit := Fit.of(trace)) is not None and fit.tells]
    return next((fit for fit in fits if fit.progress < share), None)


def out_of_scale(
    entries: Iterable[Row], inputs: list[Row], huge: float, pixels: float
) -> Iterator[Fault]:
    """Inputs beyond reach, or divided twice, that nothing makes up for; channels in turn."""
    table = inputs[0] if len(inputs) == 1 else None
    for entry in (entry for entry in entries if not at_ease(entry)):
        if is_beyond(entry, huge, pixels):
            yield too_large(entry, table, pixels if is_pixels(entry) else huge)
        elif is_divided_twice(entry):
            yield divided_twice(entry)
    yield from (interleaved(row) for row in inputs if row.number("interleaved") >= _INTERLEAVED)


def interleaved(row: Row) -> Fault:
    """Images whose rows hold pixel after pixel, three colours each, and not one colour."""
    excess, remedy = (
        row.number("interleaved"),
        "use permute(0, 3, 1, 2) (np.transpose), not view or reshape",
    )
    return Fault(
        f"in {row.text('place')}, values three apart along a row are more alike than neighbours, by "
        f"{excess:.2f} (bound {_INTERLEAVED:g}; images have less than 0)",
        (Measure("correlation at 3 and 6, less that between", excess, "ratio", _INTERLEAVED),),
        [Suspect("data", f"{row.text('place')}: its rows hold the three colours in turn", remedy)],
        cause="images of shape (height, width, 3) were viewed as (3, height, width): colours and places "
        "are mixed up",
        remedy=remedy,
    )


def at_ease(entry: Row) -> bool:
    """Whether the model makes up for inputs of any size."""
    return any(map(entry.flag, ("normalises", "looks_up", "trained", "mended")))


def is_pixels(entry: Row) -> bool:
    """Whether they look like bytes of an image: many whole numbers from 0 to 255."""
    bytes_ = entry.number("lowest") >= 0 and 127 < entry.number("highest") <= 255  # noqa: PLR2004  of a byte
    return bytes_ and entry.flag("whole_numbers") and entry.integer("features") >= 16  # noqa: PLR2004  4 x 4


def is_divided_twice(entry: Row) -> bool:
    """Whether the largest of many inputs is 1/255 and none is negative: that is no coincidence."""
    exact = abs(entry.number("highest") * 255 - 1) < 1e-3  # noqa: PLR2004  rounding of half precision
    return exact and entry.number("lowest") >= 0 and entry.integer("features") >= 16  # noqa: PLR2004


def value_range(entry: Row) -> str:
    """The smallest and the largest input."""
    return f"values from {entry.number('lowest'):.4g} to {entry.number('highest'):.4g}"


def unequal(row: Row | None) -> str:
    """The features of the largest and of the smallest scale, as an addition; empty where unknown."""
    if row is None or row.get("largest_feature") is None:
        return ""
    return (
        f"; feature {row.integer('largest_feature')} has the standard deviation "
        f"{row.number('largest_spread'):.3g}, feature {row.integer('smallest_feature')} "
        f"{row.number('smallest_spread'):.3g}"
    )
