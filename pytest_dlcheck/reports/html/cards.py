"""One recipe as the page's card shows it, as plain data: verdicts, curves, heat maps, tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_dlcheck.finding import Finding
from pytest_dlcheck.reports.html import anatomy, embed, trials
from pytest_dlcheck.reports.html.curves import Budget
from pytest_dlcheck.reports.html.history import History
from pytest_dlcheck.reports.html.verdicts import by_severity, told
from pytest_dlcheck.trace import Trace

BUDGETS = (
    Budget(points=400, sites=64, steps=48, trials=8, rows=400),
    Budget(points=120, sites=32, steps=24, trials=2, rows=80),
    Budget(points=60, sites=16, steps=16, trials=1, rows=24),
    Budget(points=24, sites=8, steps=8, trials=1, rows=8),
)
"""From fine to coarse. The first fills a screen; the last still shows that something is there."""


def card(
    findings: Sequence[Finding],
    traces: Sequence[Trace],
    asked: Mapping[str, Any],
    history: Sequence[History],
    budget: Budget,
) -> dict[str, Any]:
    """All that is drawn once the card is opened; what is empty is left out."""
    whole = {
        "verdicts": [told(finding) for finding in by_severity(findings)],
        "trials": trials.trials(traces),
        "curves": trials.curves(traces, budget),
        "evaluations": trials.evaluations(traces),
        "metrics": trials.metrics(traces),
        "heats": trials.heats(traces, budget),
        "units": trials.units(traces)[: budget.rows],
        "settings": anatomy.settings(traces, asked),
        "optimizers": anatomy.optimizers(traces)[: budget.rows],
        "parameters": anatomy.parameters(traces, budget.rows),
        "shapes": anatomy.shapes(traces),
        "unobserved": anatomy.unobserved(traces),
        "history": [past(line) for line in history],
    }
    return {key: value for key, value in whole.items() if value}


def past(line: History) -> dict[str, Any]:
    """One quantity over time."""
    return {
        "recipe": embed.name(line.recipe),
        "measure": embed.name(line.measure),
        "unit": embed.name(line.unit),
        "when": [embed.name(point.when) for point in line.points],
        "value": [embed.rough(point.value) for point in line.points],
        "label": [embed.name(point.label) for point in line.points],
        "low": [embed.rough(point.low) for point in line.points],
        "high": [embed.rough(point.high) for point in line.points],
        "limit": embed.rough(line.limit),
        "changes": list(line.changes),
    }
