"""Numbers that are NaN or infinite, told as a fault. Which ones may be: the check's."""

from __future__ import annotations

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect


def count(row: Row) -> int:
    """How many numbers there are not finite."""
    return row.integer("nan") + row.integer("inf") + row.integer("neg_inf")


def is_bad(row: Row) -> bool:
    """Whether it holds a NaN or +inf; or, in a loss, -inf, which masks and logarithms may give."""
    lost = row.text("place").startswith("loss") and row.integer("neg_inf") > 0
    return row.integer("nan") + row.integer("inf") > 0 or lost


def not_finite(row: Row, before: Row | None, measure: Measure) -> Fault:
    """Numbers that cannot be trained on.

    Args:
        row: the first place, in the order of computation.
        before: what was not finite before anything was computed, if that explains it.
        measure: how many numbers there are all in all, and may be.
    """
    site, text = row.text("site") or "model", f"{_finding(row)}, first {row.text('where')}"
    if before is not None:
        place = before.text("place")
        site = "data" if place.startswith("batch") else place
        text = f"{count(before)} of {before.integer('total')} numbers of `{place}` are not finite"
    cause, remedy = _story(row) if before is None else _inherited(before)
    because = f"{_finding(row)} (bound {measure.bound})"
    return Fault(because, (measure,), [Suspect(site, text)], cause, remedy)


def _finding(row: Row) -> str:
    share, mode = f"{count(row)} of {row.integer('total')}", row.text("mode")
    if mode == "backward":
        names = f" ({row.text('first')})" if row.text("first") else ""
        return f"{share} parameters get a NaN or infinite gradient{names}"
    return f"{share} numbers of `{row.text('place')}` are NaN or infinite in {mode} mode"


def _inherited(before: Row) -> tuple[str, str]:
    place = before.text("place")
    fill, initialise = "drop or fill missing values", "initialise it: torch.empty holds anything"
    remedy = fill if place.startswith("batch") else initialise
    return f"`{place}` is not finite before anything is computed", remedy


def _story(row: Row) -> tuple[str, str]:
    if row.text("mode") == "backward":
        return (
            f"the derivative is infinite or 0/0 {row.text('where')}",
            "add an epsilon inside sqrt, norm, log, division; where() stops no NaN behind it",
        )
    return (
        f"the first NaN or infinity arises {row.text('where')}",
        "look there for a log, sqrt, division or exp without an epsilon or a clamp",
    )
