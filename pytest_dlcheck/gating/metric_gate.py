"""What a check is that holds metrics of a trained model to numbers. The numbers are the checks' own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace

from pytest_dlcheck.check import Check, Evidence
from pytest_dlcheck.gating.asked import Asked
from pytest_dlcheck.gating.conclusion import (
    Conclusion,
    Rules,
    Sorted,
    conclude,
    next_trials,
    sorted_out,
)
from pytest_dlcheck.trace import Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Outcome, Suspect, Verdict

_NOT_FINITE = ("it is nan", "it is inf", "it is -inf")


class MetricGate(Check):
    """A check on metrics after whole trainings, with one seed more at a time until it is decided."""

    asked: Asked

    @property
    @abstractmethod
    def rules(self) -> Rules:
        """The numbers that it decides by."""

    @abstractmethod
    def known(self, traces: Sequence[Trace]) -> tuple[str, ...]:
        """The metrics that it measures where the policy names none."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """One training, and the same at the other commit; further ones once these have worked."""
        if self.asked.lowered:
            return ()
        revisions = ("", terms.against) if terms.against else ("",)
        return tuple(terms.fit(terms.seed, 0, revision) for revision in revisions)

    def look_again(self, verdict: Verdict, evidence: Evidence) -> tuple[Trial, ...]:
        """The other folds and seeds that are asked for, then one seed more at a time."""
        traces = self._sorted(evidence).traces
        settled = verdict.outcome not in {Outcome.INCONCLUSIVE, Outcome.PASSED}
        if settled or any(trace.ending.kind != "completed" for trace in traces):
            return ()
        return next_trials(traces, self._conclusion(traces), self.asked)

    def judge(self, evidence: Evidence) -> Verdict:
        """The verdict; a commit that cannot be compared with hides nothing that fails by itself."""
        if self.asked.lowered:
            return self.not_applicable(self.asked.lowered)
        found = self._sorted(evidence)
        verdict = super().judge(Evidence(found.traces))
        if verdict.outcome is Outcome.NOT_APPLICABLE and self.asked.by_policy:
            return self._unanswerable(verdict.because)
        if found.doubt and verdict.outcome is Outcome.PASSED:
            return self.inconclusive(f"{verdict.because}; {found.doubt}", *verdict.measures)
        return replace(verdict, because=f"{verdict.because}; {found.note}") if found.note else verdict

    def decide(self, evidence: Evidence) -> Verdict:
        """By all rulings together."""
        found = self._conclusion(evidence.traces)
        if found.problems:
            return self._troubled(found.problems)
        if found.seeds < self.asked.seeds:
            return self.inconclusive(f"{found.seeds} of {self.asked.seeds} seeds are measured")
        return self._decided(found)

    def _decided(self, found: Conclusion) -> Verdict:
        if not found.measures:
            return self.not_applicable("the recipe gives no metrics= and no loss that can be asked")
        if fails := found.those("fails"):
            told = "; ".join(ruling.because for ruling in fails)
            remedies = [ruling.remedy for ruling in fails if ruling.remedy]
            return self.failed(
                _with(told, found), *found.measures, remedy="; ".join(dict.fromkeys(remedies))
            )
        if doubts := (*found.those("unknown"), *found.those("open")):
            told = "; ".join(ruling.because for ruling in doubts)
            return self.inconclusive(_with(told, found), *found.measures)
        if found.rulings:
            told = "; ".join(ruling.because for ruling in found.rulings)
            return self.passed(_with(told, found), *found.measures)
        return self.passed(_with(_measured(found), found), *found.measures)

    def _sorted(self, evidence: Evidence) -> Sorted:
        (fact,) = self.reads
        return sorted_out(evidence.traces, fact)

    def _conclusion(self, traces: Sequence[Trace]) -> Conclusion:
        return conclude(traces, self.asked, self.rules, self.known(traces))

    def _troubled(self, problems: dict[str, str]) -> Verdict:
        told = "; ".join(f"{name}: {problem}" for name, problem in problems.items())
        if not self.asked.by_policy:
            return self.not_applicable(told)
        if all(problem.startswith(_NOT_FINITE) for problem in problems.values()):
            return self.inconclusive(f"{told}, which is no number to hold to any")
        return self._unanswerable(told)

    def _unanswerable(self, why: str) -> Verdict:
        """The policy asks what the recipe cannot answer: a mistake, which must not pass for a skip."""
        told = f"{self.name}= is asked for, but {why}"
        return self._verdict(Outcome.ERRORED, told, cause=why, suspects=(Suspect("", ""),))


def _with(told: str, found: Conclusion) -> str:
    return "; ".join([told, *found.notes])


def _measured(found: Conclusion) -> str:
    numbers = ", ".join(f"{m.name} {m.value:.4g}" for m in found.informs)
    count = f"{found.seeds} seed{'s' if found.seeds > 1 else ''}"
    return f"{numbers} with {count}: held against nothing (no threshold, no baseline)"
