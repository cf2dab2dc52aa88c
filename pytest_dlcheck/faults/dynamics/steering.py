"""A loss that is the smaller the worse the right classes do. Thresholds included."""

from __future__ import annotations

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.statistics import share_interval
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect

LEAST = 256
"""Samples (count) whose scores had a gradient from which on it is no accident; chosen."""
SHARE = 0.95
"""Share of them (ratio) whose right class loses by a step; chosen: of a cross-entropy, a hinge or a
likelihood none do, smoothed ones none but those that are surer than they should be."""
CERTAIN = 0.998
"""Confidence with which the answers are worse than guesses."""

LOOKS = 3
"""Losses (count) that are no accident, and"""
PLACES = 64
"""numbers of outputs (count) of each kind."""
INVERSE = 0.25
"""How often an output of a one is above that of a zero (ratio) below which outputs are the inverse of
their targets; a half says nothing. Chosen."""
_CAUSE = "the sign of the loss, or of a term of it, is wrong: it rewards what the labels are not"
_REMEDY = "minimise what is smallest where the answers are right: turn the sign, or 1 - likeness"


def of_maps(row: Row) -> Fault | None:
    """Chances become the inverse of targets of zeros and ones; None where they do not.

    Nor where the model had learned before, as it may be meant to unlearn; nor where only a product says
    what the targets are.

    Args:
        row: where losses steer such chances, of a watched loop.
    """
    if not _leave(row) or row.number("ordered_last") > INVERSE or not row.flag("began_fresh"):
        return None
    if not row.flag("is_certain"):
        return None
    return Fault(
        because=(
            f"{_tale(row)}, and in the end the chance of a one is above that of a zero in "
            f"{row.number('ordered_last'):.1%} of all pairs (50% by guessing)"
        ),
        measures=(Measure("chances steered away from their targets", _least(row), "ratio", SHARE, "<"),),
        suspects=(Suspect("loss", "falls as chances leave their targets: its sign is wrong"),),
        cause=_CAUSE,
        remedy=_REMEDY,
    )


def advice_on_maps(row: Row) -> list[str]:
    """The same where it may be meant."""
    if not _leave(row) or of_maps(row) is not None:
        return []
    meant = (
        "unless ones are places to leave out, or what was learned is to be forgotten, the sign of the"
    )
    return [f"{_tale(row)}: {meant} loss is wrong: 1 - dice is to be minimised, not dice"]


def _leave(row: Row) -> bool:
    enough = "looks" in row and row.integer("looks") >= LOOKS
    return enough and min(row.integer("ones"), row.integer("zeros")) >= PLACES and _least(row) >= SHARE


def _least(row: Row) -> float:
    return min(row.integer(f"{each}_away") / row.integer(each) for each in ("ones", "zeros"))


def _tale(row: Row) -> str:
    return (
        f"the loss falls as the chances of ones fall and those of zeros rise, in {_least(row):.1%} of "
        f"these or more (less than {SHARE:.0%} may)"
    )


def told(row: Row) -> Fault | None:
    """Training makes right answers rare, and the evaluation says so; None where that is not known.

    Labels that say what a sample is not are steered down as well, and are evaluated by others.

    Args:
        row: where losses steer the scores, of a watched loop.
    """
    if not _is_down(row) or not (_is_worse(row, "") and _is_worse(row, "_trained")):
        return None
    right, answered, guess = row.integer("right"), row.integer("answered"), 1 / row.integer("classes")
    return Fault(
        because=(
            f"{_story(row)}, and {right} of the last evaluation's {answered} answers are right (surely "
            f"fewer than the {guess:.1%} of a guess)"
        ),
        measures=(
            Measure("samples whose right class is steered down", _share(row), "ratio", SHARE, "<"),
        ),
        suspects=(Suspect("loss", "falls with the score of the right class: its sign is wrong"),),
        cause=_CAUSE,
        remedy=_REMEDY,
    )


def advice(row: Row) -> list[str]:
    """The same where no evaluation tells that it is meant otherwise."""
    if not _is_down(row) or told(row) is not None:
        return []
    meant = (
        "unless labels say what a sample is not, or are to be unlearned, the sign of the loss is wrong"
    )
    return [f"{_story(row)}: {meant}"]


def _is_down(row: Row) -> bool:
    enough = "samples" in row and row.integer("samples") >= LEAST
    return enough and _share(row) >= SHARE


def _is_worse(row: Row, part: str) -> bool:
    share = share_interval(row.integer(f"right{part}"), row.integer(f"answered{part}"), CERTAIN)
    return share.high < 1 / row.integer("classes")


def _share(row: Row) -> float:
    return row.integer("down") / row.integer("samples")


def _story(row: Row) -> str:
    return (
        f"the loss falls with the score of the right class in {row.integer('down')} of "
        f"{row.integer('samples')} samples (less than {SHARE:.0%} may)"
    )
