"""What is read first: how many, what is wrong, and a row per recipe. Values for the template."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_dlcheck.finding import Finding, TrialSummary, problems
from pytest_dlcheck.reports.html import embed
from pytest_dlcheck.reports.html.sparks import Spark, spark
from pytest_dlcheck.reports.html.trials import final_accuracy
from pytest_dlcheck.reports.html.verdicts import WORST_FIRST, State, state
from pytest_dlcheck.trace import Trace
from pytest_dlcheck.verdict import Outcome

Groups = Mapping[str, Sequence[Finding]]
"""Findings by recipe."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe in one row.

    Attributes:
        index: its place among all, which its card goes by.
        name: what it is called.
        place: its file and line; empty where they are not known.
        state: the worst of its verdicts.
        counts: how many verdicts there are of each state, worst first.
        checks: the checks that are not simply passed, for the search.
        loss: the training loss in words: ``"2.7 → 0.06"``.
        spark: the training loss as a small curve; None where there is none.
        accuracy: on validation data (ratio); None where nothing was classified.
        rate: training samples per second with probes on; None where it is not known.
        seconds: of all its trials.
    """

    index: int
    name: str
    place: str
    state: State
    counts: Mapping[State, int]
    checks: tuple[str, ...]
    loss: str
    spark: Spark | None
    accuracy: float | None
    rate: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Problem:
    """A failure that nothing else explains.

    Attributes:
        recipe: where it was found.
        finding: what was found.
        consequences: the failures it explains.
        alike: the same fault in other recipes, with what was measured there.
    """

    recipe: Recipe
    finding: Finding
    consequences: tuple[Finding, ...]
    alike: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Tally:
    """How many there are.

    Attributes:
        recipes: recipes that were judged.
        sick: recipes in which something failed.
        problems: failures that nothing else explains.
        verdicts: how many verdicts there are of each state, worst first.
        seconds: of all trials.
    """

    recipes: int
    sick: int
    problems: int
    verdicts: Mapping[State, int]
    seconds: float


def worst_first(groups: Groups) -> dict[str, Sequence[Finding]]:
    """The recipes with the worst verdicts first, otherwise in their order."""
    worst = {name: min(WORST_FIRST.index(state(f)) for f in group) for name, group in groups.items()}
    return {name: groups[name] for name in sorted(groups, key=worst.__getitem__)}


def recipes(
    groups: Groups, traces: Mapping[str, Sequence[Trace]], asked: Mapping[str, Mapping[str, Any]]
) -> list[Recipe]:
    """A row per recipe, in their order."""
    return [
        _recipe(index, name, group, traces.get(name, ()), asked.get(name, {}))
        for index, (name, group) in enumerate(groups.items())
    ]


def problems_of(groups: Groups, rows: Sequence[Recipe]) -> list[Problem]:
    """The causes, errors first; a fault that is told in the same words of several recipes is one."""
    found = [
        Problem(row, cause, tuple(consequences))
        for row, group in zip(rows, groups.values(), strict=True)
        for cause, consequences in problems(group)
    ]
    alike: dict[object, list[Problem]] = {}
    for index, problem in enumerate(found):
        alike.setdefault(_sameness(problem.finding) or index, []).append(problem)
    merged = [
        Problem(first.recipe, first.finding, first.consequences, tuple(others))
        for first, *others in alike.values()
    ]
    return sorted(merged, key=lambda p: (state(p.finding) != "errored", bool(p.finding.objection)))


def tally(rows: Sequence[Recipe], groups: Groups) -> Tally:
    """The session in a few numbers."""
    return Tally(
        recipes=len(rows),
        sick=sum(row.state in {"failed", "errored"} for row in rows),
        problems=sum(len(problems(group)) for group in groups.values()),
        verdicts=_counts(finding for group in groups.values() for finding in group),
        seconds=math.fsum(row.seconds for row in rows),
    )


def _sameness(finding: Finding) -> object:
    verdict = finding.verdict
    if finding.objection or not verdict.cause:
        return None
    if verdict.outcome is Outcome.ERRORED:
        return verdict.cause  # whichever check met it first
    return (verdict.check, verdict.cause, verdict.remedy) if verdict.remedy else None


def _recipe(
    index: int, name: str, group: Sequence[Finding], traces: Sequence[Trace], asked: Mapping[str, Any]
) -> Recipe:
    summaries = [trial for finding in group for trial in finding.trials]
    training = next((t for t in summaries if t.kind in {"train", "watch", "fit"} and t.losses), None)
    counts = _counts(group)
    return Recipe(
        index=index,
        name=embed.name(name),
        place=_place(asked),
        state=next(iter(counts)),
        counts=counts,
        checks=tuple(embed.name(f.verdict.check) for f in group if state(f) not in {"passed", "na"}),
        loss=_loss(training),
        spark=spark(training.losses) if training else None,
        accuracy=final_accuracy(traces),
        rate=training.samples_per_second if training else None,
        seconds=_seconds(summaries, traces),
    )


def _seconds(summaries: Sequence[TrialSummary], traces: Sequence[Trace]) -> float:
    found = [trace.seconds for trace in traces] or [summary.seconds for summary in summaries]
    return math.fsum(filter(math.isfinite, found))


def _counts(findings: Any) -> dict[State, int]:
    found = Counter(map(state, findings))
    return {name: found[name] for name in WORST_FIRST if found[name]}


def _place(asked: Mapping[str, Any]) -> str:
    file, line = asked.get("file"), asked.get("line")
    if not file:
        return ""
    return embed.name(f"{file}:{line}" if line else str(file))


def _loss(training: TrialSummary | None) -> str:
    return f"{training.losses[0]:.3g} → {training.losses[-1]:.3g}" if training else ""
