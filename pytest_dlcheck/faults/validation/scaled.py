"""Held-out inputs that are scaled otherwise than those that are trained on. Thresholds included."""

from __future__ import annotations

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect

SIZE = 10.0
"""Times as large as those of any other batch (ratio) that inputs may be; chosen, as are"""
APART = 3.0
"""the same of the spread of half of all columns, where a transform scaled all those of one part, and"""
UNLIKE = 10.0
"""how many times more some columns differ than others, which no wider range of all explains."""
ONE_SIDED = 0.5
"""Share of the columns (ratio) above which they are no standardised ones; chosen."""
ALIKE = 0.02
"""By how much levels of a byte may differ (ratio): rounding moves them far less, transforms more."""
CENTRED = 1e-4
"""Distance of their mean from 0 (deviations): of what the statistics are of, it is rounding alone."""
_CAUSE = (
    "the validation inputs are normalised otherwise than the training inputs: a transform is missing, "
    "doubled or another one"
)
_REMEDY = "use one transform, with the statistics of the training data, for both"
_OWN = (
    "if these are held out, they are normalised otherwise than the training inputs, by statistics of "
    "their own (a scaler that was fitted again): use the training data's, unless each subject has some"
)


def told(row: Row) -> Fault | None:
    """What the loop calls held out has another scale; None where that is not known.

    Args:
        row: of exposure, of a watched loop.
    """
    story = _levels(row) or ("" if _may_be_shifted(row) else _columns(row))
    if not story or not (part := row.text("scale_part")):
        return None
    return Fault(
        because=f"{story}, and the loop calls them {part!r}",
        measures=(measure(row),),
        suspects=(Suspect("data", f"inputs of {part!r} are not scaled as those trained on"),),
        cause=_CAUSE,
        remedy=_REMEDY,
    )


def measure(row: Row) -> Measure:
    """How many times as large, or as far apart, numbers of evaluations are."""
    if _levels(row):
        return Measure("distance of levels against the training's", _factor(row), "ratio", 1 + ALIKE)
    if _columns(row):
        return Measure(
            "spread against the training's", _times(row.number("scale_median")), "ratio", APART
        )
    return Measure("size against the training's", _times(row.number("evaluated_size")), "ratio", SIZE)


def advice(row: Row) -> list[str]:
    """The same where no name tells what is held out, exact statistics, and inputs that are far larger.

    One subject, or one domain, that is held out may be standardised as each of the others is.
    """
    if story := _columns(row) or _levels(row):
        return [f"{story}: if these are held out, {_CAUSE}"]
    if story := _own(row):
        return [f"{story}: {_OWN}"]
    ratio = row.number("evaluated_size")
    if _times(ratio) < SIZE:
        return []
    times = f"{ratio:.3g} times as large as" if ratio > 1 else f"{1 / ratio:.3g} times smaller than"
    told = f"inputs of evaluations are at least {times} those of training (bound {SIZE:g} times): "
    return [
        told
        + "unless that is meant, validation data is scaled otherwise than training data, a transform "
        "is missing or doubled"
    ]


def _factor(row: Row) -> float:
    """How many times as far apart neighbouring levels are that are evaluated; 1 where there are none."""
    ours, theirs = row.number("level_trained"), row.number("level_evaluated")
    return theirs / ours if ours > 0 and theirs > 0 else 1.0


def _columns(row: Row) -> str:
    if "scale_columns" not in row or not row.integer("scale_columns"):
        return ""
    trained, evaluated = row.text("scale_trained"), row.text("scale_evaluated")
    is_one = bool(trained) != bool(evaluated) and "?" not in {trained, evaluated}
    unlike = row.number("scale_most") >= UNLIKE * row.number("scale_least")
    if not (is_one and unlike and _times(row.number("scale_median")) >= APART):
        return ""
    count = row.integer("scale_columns")
    which, others = ("training", "evaluations") if trained else ("evaluations", "training")
    return (
        f"the {count} columns of inputs of {which} are {trained or evaluated}, and those of {others} "
        f"are not: their spread is {row.number('scale_least'):.3g} to {row.number('scale_most'):.3g} "
        "times the training's"
    )


def _may_be_shifted(row: Row) -> bool:
    """Whether numbers may just lie otherwise than the training's, by whose statistics both are scaled.

    The end of a series with a trend is narrower, and what is measured under load wider, and both are on
    both sides of the training's means. Unscaled quantities are above zero, most of them.
    """
    if not row.text("scale_trained"):
        return False
    is_raw = "scale_one_sided" not in row or row.number("scale_one_sided") > ONE_SIDED
    is_wider = row.text("scale_trained") == "standardised" and not is_raw
    return row.number("scale_most") < APART or is_wider


def _own(row: Row) -> str:
    """What is exactly standardised in itself: the columns of a table, or all numbers at once."""
    own = row.text("own_scale") if "own_scale" in row else ""
    if not own:
        return ""
    which = "each column's" if own == "columns" else "all"
    return (
        f"the mean of {which} numbers in evaluated inputs is 0 (within {CENTRED:g}) and the variance 1, "
        "which other data's statistics do not make them"
    )


def _levels(row: Row) -> str:
    if "level_trained" not in row or abs(_factor(row) - 1) <= ALIKE:
        return ""
    return (
        f"the numbers of inputs are levels that lie {row.number('level_trained'):.3g} apart in "
        f"training, and {row.number('level_evaluated'):.3g} apart in evaluations ({1 - ALIKE:g} to "
        f"{1 + ALIKE:g} times as far may be)"
    )


def _times(ratio: float) -> float:
    return max(ratio, 1 / ratio) if ratio > 0 else 1.0
