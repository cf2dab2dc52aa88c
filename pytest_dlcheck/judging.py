"""Judging what trials have shown: a recipe's, a stored one's, a watched loop's. Nothing is run here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pytest_dlcheck.baseline import NO_BASELINE
from pytest_dlcheck.check import Check, Evidence, registry
from pytest_dlcheck.diagnosis import diagnose_verdicts, needed
from pytest_dlcheck.finding import Finding, TrialSummary
from pytest_dlcheck.loops import is_watched_for, judged_as_seen, judged_loop, served, serves, twins_of
from pytest_dlcheck.policy import Policy
from pytest_dlcheck.seeds import with_seeds
from pytest_dlcheck.trace import Ending, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Verdict

Obtain = Callable[[Trial], Trace]
"""Gives the trace of a trial, which is run if it has not been."""


def judged(check: Check, traces: Iterable[Trace], obtain: Obtain, terms: Terms) -> Verdict:
    """The verdict of a check, with the second look that it may ask for.

    Args:
        check: who judges.
        traces: those of the trials that it asks for.
        obtain: gives the trace of a further trial.
        terms: the policy: where the recipe has a loop of its own, what that shows stands for an
            inspection too.
    """
    traces = tuple(traces)
    if is_watched_for(check, traces):
        runs = tuple(map(obtain, terms.train()))
        if serves(check, runs[0]):
            return judged_loop(check, runs, obtain)
        traces = tuple({trace.trial: trace for trace in (*traces, *runs)}.values())
    evidence = Evidence(traces)
    verdict = check.judge(evidence)
    while further := _unseen(check.look_again(verdict, evidence), evidence):
        evidence = Evidence((*evidence.traces, *map(obtain, further)))
        verdict = check.judge(evidence)
    return with_seeds(check, verdict, evidence)


def _unseen(trials: Iterable[Trial], evidence: Evidence) -> tuple[Trial, ...]:
    seen = {trace.trial for trace in evidence.traces}
    return tuple(trial for trial in trials if trial not in seen)


def judge_again(
    recipe: str, asked: Mapping[str, Any], traces: Iterable[Trace], checks: Mapping[str, Check]
) -> tuple[Finding, ...]:
    """Judge stored traces, for example with other thresholds; nothing is run.

    Args:
        recipe: the recipe's name.
        asked: what :meth:`Examination.asked` wrote.
        traces: the recipe's traces.
        checks: the checks by name.
    """
    stored = {trace.trial: trace for trace in traces}
    stored |= {twin.trial: twin for trace in stored.values() for twin in twins_of(trace)}
    if asked["terms"] is None:
        return ()
    terms = Terms(**asked["terms"])

    def obtain(trial: Trial) -> Trace:
        missing = Ending("killed", message="the journal ends before this trial")
        return stored.get(trial) or Trace(trial, missing)

    policy = Policy.from_json(asked.get("policy", {}))
    known = [checks[name].under(policy, NO_BASELINE) for name in asked["checks"] if name in checks]
    verdicts = [judged(check, map(obtain, check.trials(terms)), obtain, terms) for check in known]
    diagnosis = diagnose_verdicts(verdicts)
    summaries = tuple(TrialSummary.of(trace) for trace in stored.values())
    return tuple(
        Finding(
            recipe=recipe,
            verdict=verdict,
            because_of=diagnosis.explained_by.get(verdict.check, ""),
            trials=summaries if index == 0 else (),
        )
        for index, verdict in enumerate(verdicts)
    )


def judge_watched(name: str, trace: Trace) -> tuple[Finding, ...]:
    """Judge a loop that was watched, by every check that needs nothing but what was seen.

    There is no second look at a loop that is not ours to run: a failure that would want another trial
    to be sure is inconclusive.

    Args:
        name: what was trained.
        trace: what was seen.
    """
    evidence = Evidence((trace,))
    verdicts = [judged_as_seen(check, evidence) for check in served(registry().values(), trace)]
    diagnosis = diagnose_verdicts(verdicts)
    summary = TrialSummary.of(trace)
    return tuple(
        Finding(
            recipe=name,
            verdict=needed(verdict, verdicts),
            because_of=diagnosis.explained_by.get(verdict.check, ""),
            trials=(summary,) if index == 0 else (),
        )
        for index, verdict in enumerate(verdicts)
    )
