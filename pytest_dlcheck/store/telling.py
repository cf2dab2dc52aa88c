"""How what a gate measured travels: in reports and journals, as plain data beside its finding."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_dlcheck.finding import Finding
from pytest_dlcheck.store.machine import Machine
from pytest_dlcheck.store.records import Entry, Series, TraceEntry
from pytest_dlcheck.trace import Trace

REPEATS = "reproduces_baseline"
"""The gate whose trainings are kept, to be repeated; it measures nothing but a comparison."""
_COMPARES = re.compile(r"^worsening of | against ")


def measured(
    recipe: str, machine: Machine, torch_version: str, traces: Sequence[Trace] = ()
) -> dict[str, Any]:
    """Where something was measured, as plain data.

    Args:
        recipe: the node id of the recipe's variant.
        machine: the machine.
        torch_version: of PyTorch.
        traces: the trainings that are to be kept.
    """
    told = {"recipe": recipe, "machine": dict(machine.facts), "torch": torch_version}
    kept = [trace.to_json() for trace in traces if is_repeatable(trace)]
    return {**told, "traces": kept} if kept else told


def is_repeatable(trace: Trace) -> bool:
    """Whether it is a training of the code at hand as it is usually run, to its end."""
    trial = trace.trial
    return (
        trial.kind == "train"
        and trace.ending.kind == "completed"
        and trial.optimizer == "recipe"
        and trial.learning_rate_scale == 1
        and not (trial.revision or trial.dense)
    )


def entries_of(finding: Finding, told: Mapping[str, Any]) -> list[Entry]:
    """The measures of a finding, but those that compare with other runs: these have no history.

    Args:
        finding: what was concluded.
        told: what :func:`measured` said of it.
    """
    verdict, machine = finding.verdict, Machine(told["machine"])
    return [
        Entry(
            Series(str(told["recipe"]), verdict.check, measure.name, measure.unit, machine),
            verdict.outcome,
            measure,
        )
        for measure in verdict.measures
        if verdict.check != REPEATS and not _COMPARES.search(measure.name)
    ]


def traces_of(told: Mapping[str, Any]) -> list[TraceEntry]:
    """The trainings that came with it."""
    recipe, machine = str(told["recipe"]), Machine(told["machine"])
    traces = told.get("traces", ())
    return [TraceEntry(recipe, machine, trace["trial"]["seed"], trace) for trace in traces]
