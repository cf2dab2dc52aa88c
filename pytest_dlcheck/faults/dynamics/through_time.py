"""States that go back into a module without their graph, told in words."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Trace
from pytest_dlcheck.verdict import Measure, Suspect


def cut(traces: Iterable[Trace]) -> Fault | None:
    """Modules that are called step after step, and no step of which takes a gradient back to another."""
    rows = [row for trace in traces for row in trace.rows("through_time")]
    if not rows:
        return None
    first = rows[0]
    site, lost, line = first.text("site"), first.integer("cut"), first.text("line")
    return Fault(
        f"what `{site}` gives goes back into it without its graph in {lost} of {first.integer('calls')} "
        "calls before a backward (0 expected), and no call takes a gradient back to one before it",
        measures=(Measure("steps whose state has lost its graph", lost, "count", 0),),
        suspects=[
            Suspect(row.text("site"), "the state that it is given back has no graph") for row in rows
        ],
        cause=f"the hidden state of `{site}` is detached at every time step"
        f"{f', at {line}' if line else ''}: nothing is propagated through time",
        remedy="hand the state on as it is from step to step (no .detach() or .data); detach it between "
        "batches, or once in many steps",
    )
