"""What validation inputs have otherwise than those of training, told in words, by given bounds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect

_ALIKE = "build both data sets with the same transforms and the training data's statistics"
_AS_READ = 0.1
"""How far the rms of what the model's first layer gets may be from that of the training inputs (ratio)
if they reach it as they are; a model that standardises them itself gives it about 1."""


def beside(inputs: list[Row], entries: Iterable[Row], apart: float, mirrored: float) -> Iterator[Fault]:
    """What validation inputs have otherwise.

    Args:
        inputs: what was found of each input.
        entries: of the model's first layers.
        apart: the factor between scales from which on it is told.
        mirrored: the correlation of means below which it is told that high and low are exchanged.
    """
    entries = list(entries)
    yield from (_standardised(row) for row in inputs if _is_standardised(row, entries))
    yield from (_apart(row, apart) for row in inputs if _factor(row) >= apart)
    inverted = [row for row in inputs if row.number("val_likeness") <= mirrored]
    yield from (_mirrored(row, mirrored) for row in inverted)


def are_edited(draws: Iterable[Row]) -> bool:
    """Whether reading edits what is stored: then the data is otherwise by what was read of it before."""
    return any(row.text("edited") for row in draws)


def _factor(row: Row) -> float:
    """By what factor validation inputs are larger, or smaller, by rms and by ninth decile alike."""
    low, high = sorted((row.number("val_rms_ratio"), row.number("val_decile_ratio")))
    if not low > 0:
        return 1.0
    return max(low, 1 / high)


def _apart(row: Row, bound: float) -> Fault:
    """Validation inputs of another scale than those of training."""
    ratio = row.number("val_rms_ratio")
    times = f"{ratio:.3g} times as large as" if ratio > 1 else f"{1 / ratio:.3g} times smaller than"
    return Fault(
        f"{row.text('place')} of val_data is {times} that of train_data (bound {bound:g} times)",
        (Measure("scale of validation inputs over that of training", ratio, "ratio", bound),),
        [Suspect("data", f"{row.text('place')} of val_data is {times} in train_data", _ALIKE)],
        cause="validation data is scaled otherwise than training data: a transform is missing or "
        "doubled",
        remedy=_ALIKE,
    )


def _is_standardised(row: Row, entries: list[Row]) -> bool:
    """Whether one side alone is; raw training inputs may be standardised by the model's caller."""
    if row.text("standardised") != "val_data":
        return bool(row.text("standardised"))
    given = [entry.number("given") / max(row.number("rms"), 1e-30) for entry in entries]
    return any(abs(ratio - 1) <= _AS_READ for ratio in given)


def _standardised(row: Row) -> Fault:
    """Inputs of one split that are standardised, and of the other that are as they were measured."""
    place, scaled = row.text("place"), row.text("standardised")
    other = "train_data" if scaled == "val_data" else "val_data"
    parts = row.text("standardised_parts")
    lies = f"mean {row.number('raw_mean'):.3g}, deviation {row.number('raw_deviation'):.3g}"
    remedy = (
        "fit the scaler on the training data, and put the training and the validation data through it"
    )
    return Fault(
        f"{parts} of {place} have a mean of about 0 and a deviation of about 1 in {scaled}, and not in "
        f"{other} (0 may): {lies} there",
        (Measure("features or channels standardised in one split", int(parts.split()[0]), "count", 0),),
        [Suspect("data", f"{place} is standardised in {scaled}, and raw in {other} ({lies})", remedy)],
        cause=f"the inputs of {scaled} are standardised (normalised) and those of {other} are raw: the "
        "model is validated on another scale than it is trained on",
        remedy=remedy,
    )


def _mirrored(row: Row, bound: float) -> Fault:
    """Validation inputs in which high and low are exchanged."""
    alike, remedy = row.number("val_likeness"), "build both data sets with the same transforms"
    return Fault(
        f"the means of the features of {row.text('place')} correlate by {alike:.2f} between val_data "
        f"and train_data (at least {bound:g}; alike data has about 1)",
        (Measure("correlation of means between splits", alike, "ratio", bound, ">="),),
        [
            Suspect(
                "data",
                f"{row.text('place')} of val_data is high where train_data is low, and the other way "
                "round: inverted",
                remedy,
            )
        ],
        cause="validation inputs are inverted (1 - x): high and low are exchanged in one split",
        remedy=remedy,
    )
