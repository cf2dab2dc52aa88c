"""All that comes of holding metrics to numbers, to other commits and to the past. It runs nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

from pytest_dlcheck.baseline import Baseline
from pytest_dlcheck.gating.asked import Asked, Target
from pytest_dlcheck.gating.claim import Assumed, Claim
from pytest_dlcheck.gating.readings import ACCURACY, Reading, readings, trials_of
from pytest_dlcheck.gating.regression import AgainstCommit, AgainstPast
from pytest_dlcheck.gating.ruling import Ruling
from pytest_dlcheck.gating.spending import Look
from pytest_dlcheck.gating.threshold import Threshold
from pytest_dlcheck.trace import Trace
from pytest_dlcheck.trial import Trial
from pytest_dlcheck.verdict import Measure

Rule = Callable[[int], Ruling]
_HASH = 40
_LOWER_IS_BETTER = frozenset({"loss"})


@dataclass(frozen=True, slots=True)
class Rules:
    """The numbers that a gate decides by; the checks say where they come from.

    Attributes:
        risk: how often it may err to one side.
        margin: how much worse does not matter: a share for accuracy, else a ratio of the number.
        assumed: the noise between seeds at first.
    """

    risk: float
    margin: float
    assumed: Assumed


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What came of it so far.

    Attributes:
        problems: why metrics have no value, by name.
        rulings: what came of each hypothesis.
        informs: what was measured and held against nothing.
        notes: what it could not be held against, and why.
        seeds: how many were measured, of the code at hand and of any other that it is held against.
    """

    problems: dict[str, str] = field(default_factory=dict)
    rulings: tuple[Ruling, ...] = ()
    informs: tuple[Measure, ...] = ()
    notes: tuple[str, ...] = ()
    seeds: int = 0

    def those(self, *states: str) -> tuple[Ruling, ...]:
        """The rulings that came out so."""
        return tuple(ruling for ruling in self.rulings if ruling.state in states)

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Every number."""
        return (*(ruling.measure for ruling in self.rulings), *self.informs)


@dataclass(frozen=True, slots=True)
class Sorted:
    """The traces that count, with what is to be said of the others.

    Attributes:
        traces: of the code at hand, and of a commit that it can be compared with.
        note: why there is no such commit, where the recipe itself rules that out; else empty.
        doubt: why it could not be compared with, where it should have been; else empty.
    """

    traces: tuple[Trace, ...]
    note: str = ""
    doubt: str = ""


def sorted_out(traces: Iterable[Trace], fact: str) -> Sorted:
    """What counts of the traces.

    Args:
        traces: all of them.
        fact: what must have been observed at the other commit.
    """
    traces, note, doubt = tuple(traces), "", ""
    for trace in traces:
        name = shown(trace.trial.revision)
        if name and trace.ending.kind == "not_applicable":
            note = note or f"not held against {name}: {trace.ending.message}"
        elif name and fact in trace.unobserved:
            doubt = doubt or trace.unobserved[fact]
    kept = tuple(trace for trace in traces if not trace.trial.revision) if note or doubt else traces
    return Sorted(kept, note, doubt)


def commits(traces: Iterable[Trace]) -> tuple[str, ...]:
    """The commits whose code was run, that at hand first."""
    return tuple(sorted({trace.trial.revision for trace in traces}))


def next_trials(traces: Sequence[Trace], conclusion: Conclusion, asked: Asked) -> tuple[Trial, ...]:
    """The trainings that are wanted next: those of one more seed, or none."""
    if not traces or conclusion.problems:
        return ()
    if conclusion.seeds < asked.seeds:
        wanted = asked.seeds
    elif conclusion.those("fails", "unknown"):
        return ()
    elif conclusion.those("open") and conclusion.seeds < asked.max_seeds:
        wanted = conclusion.seeds + 1
    else:
        return ()
    return trials_of(traces[0].trial, wanted, commits(traces))


def conclude(traces: Sequence[Trace], asked: Asked, rules: Rules, known: Sequence[str]) -> Conclusion:
    """Hold metrics to all that they are to be held to.

    Args:
        traces: what was run, all of it completed.
        asked: what the policy asks.
        rules: what is decided by.
        known: the metrics to measure where the policy names none.
    """
    names = tuple(asked.metrics) or tuple(known)
    problems = _problems(traces, names)
    if problems and (asked.metrics or len(problems) == len(names)):
        return Conclusion(problems=problems)
    names = tuple(name for name in names if name not in problems)
    found = {
        name: {revision: readings(traces, name, revision) for revision in commits(traces)}
        for name in names
    }
    counts = [len(by_seed) for of_metric in found.values() for by_seed in of_metric.values()]
    seeds = min(counts, default=len(traces))
    if seeds < asked.seeds:
        return Conclusion(seeds=seeds)
    look = Look(seeds, asked.seeds, asked.max_seeds, rules.risk)
    parts = [_held(name, found[name], look, asked, rules) for name in names]
    notes = [f"{name}: {problem}" for name, problem in problems.items()]
    notes += [note for part in parts for note in part.notes]
    return Conclusion(
        rulings=holm([rule for part in parts for rule in part.rules]),
        informs=tuple(measure for part in parts for measure in part.informs),
        notes=tuple(dict.fromkeys(notes)),
        seeds=seeds,
    )


@dataclass
class _Part:
    """What one metric adds to a conclusion."""

    rules: list[Rule] = field(default_factory=list)
    informs: list[Measure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def _held(
    name: str, found: Mapping[str, Mapping[int, Reading]], look: Look, asked: Asked, rules: Rules
) -> _Part:
    """One metric, held against all that it can be held against."""
    part, target = _Part(), asked.metrics.get(name)
    heads = list(found[""].values())[: look.number]
    claim = _claim(name, heads, target, look, rules)
    if target is None:
        part.informs.append(_informs(claim))
    else:
        part.rules.append(Threshold(claim, target[1]).rule)
    regressions: list[Rule] = [
        AgainstCommit(claim, bases, shown(revision)).rule
        for revision, bases in found.items()
        if revision
    ]
    regressions += _of_the_past(claim, asked.baseline, part.notes)
    if claim.sense:
        part.rules += regressions
    elif regressions:
        part.notes.append(f'{name}: say whether more is better, as ">= number" or "<= number"')
    return part


def _of_the_past(claim: Claim, baseline: Baseline, notes: list[str]) -> list[Rule]:
    """What earlier runs it is held against; what it is not, and why, becomes a note."""
    if baseline.notice:
        notes.append(f"not held against {baseline.name or 'earlier runs'}: {baseline.notice}")
        return []
    past = [run for run in baseline.of(claim.metric) if math.isfinite(run.value)]
    if past:
        return [AgainstPast(claim, past, baseline.name or "the history").rule]
    if baseline.name:
        notes.append(f"not held against {baseline.name}: {claim.metric} was not measured there")
    return []


def _informs(claim: Claim) -> Measure:
    found, sense = claim.interval(claim.look.level), claim.sense or ">="
    return Measure(
        claim.metric, claim.mean, claim.unit, None, sense, found.low, found.high, claim.values
    )


def holm(rules: Sequence[Rule]) -> tuple[Ruling, ...]:
    """Rule on several hypotheses that share the risk of a false failure, after Holm (1979)."""
    settled: dict[int, Ruling] = {}
    while True:
        left = [index for index in range(len(rules)) if index not in settled]
        ruled = {index: rules[index](len(left)) for index in left}
        fails = {index: ruling for index, ruling in ruled.items() if ruling.state == "fails"}
        settled |= fails
        if not fails:
            settled |= ruled
            return tuple(settled[index] for index in range(len(rules)))


def shown(revision: str) -> str:
    """A commit in few characters."""
    return revision[:10] if len(revision) == _HASH else revision


def _claim(
    name: str, found: Sequence[Reading], target: Target | None, look: Look, rules: Rules
) -> Claim:
    is_share = all(reading.effective > 0 for reading in found)
    scale = abs(target[1]) if target else abs(sum(r.value for r in found) / len(found))
    margin = rules.margin if is_share else rules.margin * scale
    sense = target[0] if target else _sense(name)
    return Claim(name, is_share, found, margin, sense, look, rules.assumed)


def _problems(traces: Sequence[Trace], names: Sequence[str]) -> dict[str, str]:
    """Why metrics have no value after some training, each with the first such reason."""
    problems: dict[str, str] = {}
    for trace, name in product(traces, names):
        revision = trace.trial.revision
        where = f" at {shown(revision)}" if revision else ""
        for reading in readings([_alone(trace)], name, revision).values():
            if reading.problem:
                problems.setdefault(name, f"{reading.problem}{where}")
    return problems


def _alone(trace: Trace) -> Trace:
    """The trace as that of a trial without folds."""
    return replace(trace, trial=replace(trace.trial, fold=0, folds=1))


def _sense(name: str) -> str:
    if name == ACCURACY:
        return ">="
    return "<=" if name in _LOWER_IS_BETTER else ""
