"""What an earlier training left, evaluated on a frozen body whose statistics have moved since."""

from __future__ import annotations

import math

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.verdict import Measure, Suspect

APART = 0.25
"""Standard deviations (ratio), in the median channel, from which on statistics are not those of what is
evaluated: of four strangers' loops 0.28 to 1.0."""
FEW = 8
"""Samples of a batch (count) below which more is asked, by the root of their number, where as many of
them are averaged as by torch's momentum of 0.1, which are"""
AVERAGED = 19.0
"""equally weighed batches: (2 - 0.1) / 0.1. Fewer samples or batches move statistics by themselves."""
LEAST = 32.0
"""Samples (count) of all batches that are averaged, from which on that root holds: the logarithm of a
variance of 12 was beyond it, of 24 never."""
FARTHER = 3.0
"""How many times as far (ratio) they are as those of before, which are of what is evaluated. Where
256 small networks went on with the same data, none was beyond 0.07 so, but one of batches of 2."""


def old_heads(trace: Trace) -> Fault | None:
    """A head of an earlier training is evaluated on what statistics of another have gone into."""
    rows = [row for row in trace.rows("old_heads") if _is_sure(row)]
    if not rows:
        return None
    row = max(rows, key=lambda row: row.number("from_now"))
    name, norm = row.text("name"), row.text("norm")
    now, before = row.number("from_now"), row.number("from_before")
    bound = _bound(row)
    return Fault(
        because=(
            f"{name}, trained before, is evaluated behind the frozen {norm}, whose running statistics "
            f"have moved in {row.integer('steps')} steps: they are {now:.2f} standard deviations from "
            f"what it is evaluated on (less than {bound:.2f} expected), and were {before:.2f} before"
        ),
        measures=(Measure("distance of running statistics", now, "standard deviations", bound),),
        suspects=[Suspect(norm, "frozen, but in train mode: its running statistics move", _REMEDY)],
        cause="a frozen body ran in train mode: its statistics are no more those of its old head",
        remedy=_REMEDY,
    )


_REMEDY = (
    "call .eval() on the frozen body after every model.train(), for example in the model's own train()"
)


def _is_sure(row: Row) -> bool:
    now, before = row.number("from_now"), row.number("from_before")
    if row.integer("samples") * row.number("averaged") < LEAST or _is_adapted(row):
        return False
    return now >= _bound(row) and now >= FARTHER * before


def _is_adapted(row: Row) -> bool:
    """Whether it is also evaluated on what the statistics have been moved to on purpose."""
    before, now = row.number("best_from_before"), row.number("best_from_now")
    return before >= APART and before >= FARTHER * now


def _bound(row: Row) -> float:
    noise = FEW / row.integer("samples") * AVERAGED / row.number("averaged")
    return APART * math.sqrt(max(1.0, noise))
