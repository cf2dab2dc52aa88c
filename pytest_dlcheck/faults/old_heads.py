"""What an earlier training left, evaluated on a frozen body whose statistics have moved since."""

from __future__ import annotations

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.verdict import Measure, Suspect

APART = 0.25
"""Standard deviations (ratio), in the median channel, from which on statistics are not those of what is
evaluated: of four strangers' loops 0.28 to 1.0."""
FARTHER = 3.0
"""How many times as far (ratio) they are as those of before, which are of what is evaluated. Where 32
small networks went on with the same data, in batches of 2 to 32, nothing so far lay beyond 0.06."""


def old_heads(trace: Trace) -> Fault | None:
    """A head of an earlier training is evaluated on what statistics of another have gone into."""
    rows = [row for row in trace.rows("old_heads") if _is_sure(row)]
    if not rows:
        return None
    row = max(rows, key=lambda row: row.number("from_now"))
    name, norm = row.text("name"), row.text("norm")
    now, before = row.number("from_now"), row.number("from_before")
    return Fault(
        because=(
            f"{name}, trained before, is evaluated behind the frozen {norm}, whose running statistics "
            f"have moved in {row.integer('steps')} steps: they are {now:.2f} standard deviations from "
            f"what it is evaluated on (less than {APART} expected), and were {before:.2f} before"
        ),
        measures=(Measure("distance of running statistics", now, "standard deviations", APART),),
        suspects=[Suspect(norm, "frozen, but in train mode: its running statistics move", _REMEDY)],
        cause="a frozen body ran in train mode: its statistics are no more those of its old head",
        remedy=_REMEDY,
    )


_REMEDY = (
    "call .eval() on the frozen body after every model.train(), for example in the model's own train()"
)


def _is_sure(row: Row) -> bool:
    now, before = row.number("from_now"), row.number("from_before")
    return now >= APART and now >= FARTHER * before
