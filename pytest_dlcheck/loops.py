"""Judges a watched loop, by every check that needs nothing but what was seen. It runs nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from pytest_dlcheck.check import Check, Evidence
from pytest_dlcheck.seeds import with_seeds
from pytest_dlcheck.trace import Trace
from pytest_dlcheck.trial import Kind, Terms, Trial
from pytest_dlcheck.verdict import Outcome, Verdict

REPEATABLE = frozenset({"overfit", "blind"})
"""Kinds of trials in which a recipe's own loop can be run once more, to look again."""
SHOWN: frozenset[str] = frozenset({"inspect", "train", "watch"})
"""Kinds of trials for which a watched loop stands."""
_OTHER = frozenset({"tuning", "gate"})
"""Families that ask for more than to look at a training."""
_GRAVEST_FIRST = (
    Outcome.ERRORED,
    Outcome.FAILED,
    Outcome.INCONCLUSIVE,
    Outcome.PASSED,
    Outcome.NOT_APPLICABLE,
)


def is_own_loop(trace: Trace) -> bool:
    """Whether it is of a recipe that has a loop of its own (``train=``)."""
    return trace.row("recipe").flag("own_loop")


def twins_of(trace: Trace) -> tuple[Trace, ...]:
    """What the trace of an own loop is besides: its ``train`` trial is its ``watch`` trial, and back."""
    if not is_own_loop(trace) or trace.trial.kind not in {"train", "watch"}:
        return ()
    other: Kind = "watch" if trace.trial.kind == "train" else "train"
    return (replace(trace, trial=replace(trace.trial, kind=other)),)


def is_watched_for(check: Check, traces: Sequence[Trace]) -> bool:
    """Whether a check is to be shown the own loop of a recipe, of which it has the traces asked for."""
    kinds = {trace.trial.kind for trace in traces}
    if not kinds <= SHOWN or not any(map(is_own_loop, traces)):
        return False
    found = {name for trace in traces for name in _named_in(trace)}
    return kinds != {"inspect"} or not check.reads <= found


def serves(check: Check, trace: Trace) -> bool:
    """Whether a watched trace holds, or says that it lacks, all that a check reads."""
    return bool(served([check], trace))


def served(checks: Iterable[Check], trace: Trace) -> list[Check]:
    """Those of several checks that it does so for."""
    named, asked = _named_in(trace), Terms()
    return [
        check
        for check in checks
        if check.family not in _OTHER
        and check.reads <= named
        and all(trial.kind in SHOWN for trial in check.trials(asked))
    ]


def _named_in(trace: Trace) -> set[str]:
    return {*trace.channels, *trace.facts, *trace.unobserved, *trace.inapplicable}


def judged_as_seen(check: Check, evidence: Evidence) -> Verdict:
    """The verdict without a second look: a failure that would want one to be sure is inconclusive.

    So is one that the check cannot give for a fault of its own: that is none of the loop's.
    """
    try:
        verdict = check.judge(evidence)
        return _without(check, verdict, check.look_again(verdict, evidence) if verdict.failed else ())
    except Exception as error:  # noqa: BLE001  whatever it is, it is none of the loop's
        return broken(check, error)


def broken(check: Check, error: Exception) -> Verdict:
    """The verdict of a check that has failed itself."""
    return check.inconclusive(
        "the check itself failed, a fault of pytest-dlcheck, not of the loop; please report it with "
        f"these words: {type(error).__name__}: {str(error).partition(chr(10))[0]}"
    )


def judged_loop(check: Check, runs: Iterable[Trace], obtain: Callable[[Trial], Trace]) -> Verdict:
    """The verdict on a recipe's own loop: the gravest of those on its optimizers.

    Args:
        check: who judges.
        runs: the loop's traces, one a seed.
        obtain: gives the trace of a further trial, for a second look.
    """
    seeds = [(run, *run.others) for run in runs]
    several = min(map(len, seeds), default=0) > 1
    verdicts = []
    for part in zip(*seeds, strict=False):
        watched = tuple(replace(t, trial=replace(t.trial, kind="watch"), others=()) for t in part)
        verdict = _judged(check, Evidence(watched), obtain, again=not several)
        verdicts.append(_named(verdict, part[0]) if several else verdict)
    return min(verdicts, key=lambda verdict: _GRAVEST_FIRST.index(verdict.outcome))


def _judged(
    check: Check, evidence: Evidence, obtain: Callable[[Trial], Trace], *, again: bool
) -> Verdict:
    verdict = check.judge(evidence)
    further = check.look_again(verdict, evidence)
    if further and again and all(trial.kind in REPEATABLE for trial in further):
        evidence = Evidence((*evidence.traces, *map(obtain, further)))
        verdict = check.judge(evidence)
    elif verdict.failed:
        verdict = _without(check, verdict, further)
    return with_seeds(check, verdict, evidence)


def _without(check: Check, verdict: Verdict, further: Sequence[Trial]) -> Verdict:
    if any(trial.kind not in {"train", "watch"} for trial in further):
        unsure = f"{verdict.because}; whether that is a fault takes another trial"
        return check.inconclusive(unsure, *verdict.measures)
    return verdict


def _named(verdict: Verdict, trace: Trace) -> Verdict:
    row = trace.row("recipe")
    return replace(verdict, because=f"{row.text('model')}, {row.text('optimizer')}: {verdict.because}")
