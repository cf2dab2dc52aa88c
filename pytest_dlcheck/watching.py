"""A loop that is not ours, watched and judged: ``with watch() as run:``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from pytest_dlcheck.by_hand import CheckFailedError, Rules
from pytest_dlcheck.check import select
from pytest_dlcheck.finding import Finding, ruled
from pytest_dlcheck.host import HERE
from pytest_dlcheck.judging import judge_watched
from pytest_dlcheck.policy import Policy
from pytest_dlcheck.reports.text import failures_text, findings_text
from pytest_dlcheck.session import all_checks, watcher
from pytest_dlcheck.trace import Trace
from pytest_dlcheck.verdict import Outcome, Verdict

NOTHING = (
    "nothing was trained here: no optimizer stepped and no backward ran in this process; "
    "a training in a subprocess cannot be seen from here: watch that process, `dlcheck watch SCRIPT`"
)

NO_BACKWARD = (
    "nothing was trained here: no backward ran and no parameter had a gradient, so that {steps} "
    "optimizer steps applied nothing; call loss.backward() before step()"
)


NOT_JUDGED = "is_judged"
"""What a watch that could not be judged is told to fail; no check has that name."""
NOT_SEEN = (
    "nothing was judged: what was seen of this training cannot serve {names}; in a recipe (@recipe) "
    "the model and its data are at hand too"
)
ENDED_EARLY = "it ended before anything was trained"


class NothingTrainedError(ValueError):
    """Nothing was trained while it was watched: neither passed nor failed, but used wrongly."""


class Watched:
    """What was trained inside a watch, an entry per optimizer.

    Attributes:
        traces: ``(name, trace)`` of everything that was trained; empty until the watch has ended.
        has_ended: whether the watch has.
        objection: why :meth:`check` had nothing to judge; empty where it had, and before it was asked.
    """

    def __init__(self, name: str, rules: Rules) -> None:
        self.name, self._rules = name, rules
        self.traces: tuple[tuple[str, Trace], ...] = ()
        self.findings: tuple[Finding, ...] = ()
        self.has_ended, self.objection = False, ""

    @property
    def told(self) -> tuple[Finding, ...]:
        """What is to be told of it when all is over: that it could not be judged is a failure too."""
        if not self.objection:
            return self.findings
        verdict = Verdict(check=NOT_JUDGED, outcome=Outcome.FAILED, because=self.objection)
        return (Finding(self.name, verdict), *(self.findings if self.is_trained else ()))

    @property
    def trace(self) -> Trace:
        """What was trained most: the trace with most steps.

        Raises:
            NothingTrainedError: nothing was.
        """
        self._require_training()
        return max((trace for _, trace in self.traces), key=lambda trace: trace.trial.steps)

    @property
    def named_traces(self) -> tuple[tuple[str, Trace], ...]:
        """The traces, each with the name that its findings have."""
        single = len(self.traces) == 1
        return tuple((self.name if single else f"{self.name} [{what}]", t) for what, t in self.traces)

    @property
    def is_trained(self) -> bool:
        """Whether anything was propagated, or applied: gradients may be assigned by hand."""
        return bool(self.fault) or any(
            trace.row("loop").integer("backwards") or any(trace.matrix("gradient_norm").numbers())
            for _, trace in self.traces
        )

    @property
    def fault(self) -> str:
        """What went wrong in the watch itself, so that nothing was judged; empty where nothing has."""
        endings = (trace.ending for _, trace in self.traces)
        return next((ending.message for ending in endings if ending.kind == "lost"), "")

    @property
    def summary(self) -> str:
        """What was seen, in one line."""
        if fault := self.fault:
            return fault
        if not self.is_trained:
            return self._nothing()
        rows = [trace.row("loop") for _, trace in self.traces]
        steps = sum(trace.trial.steps for _, trace in self.traces)
        steps += max(row.integer("overlooked") for row in rows)
        if not steps and rows[0].flag("updated_by_hand"):
            count = rows[0].integer("hand_updates")
            return (
                f"no optimizer steps: {count} updates by hand were seen, of which little can be judged"
            )
        looked = sum(row.integer("looked") for row in rows)
        taken = f"{steps} optimizer step{'s' * (steps != 1)}" + (
            f", {looked} looked at closely" if looked < steps else ""
        )
        failed, passed = len(self.failures), sum(v.outcome is Outcome.PASSED for v in self.verdicts)
        unsettled = sum(v.outcome is Outcome.INCONCLUSIVE for v in self.verdicts)
        of = f"of {len(self.verdicts)} verdicts" + (f", {unsettled} open" if unsettled else "")
        return f"{taken}; {failed} failed, {passed} passed {of}"

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """All verdicts on everything that was trained."""
        return tuple(finding.verdict for finding in self.findings)

    @property
    def failures(self) -> tuple[Finding, ...]:
        """What failed, and is not expected to."""
        return tuple(finding for finding in self.findings if finding.fails)

    def check(self, *names: str) -> None:
        """Fail with the diagnosis where a property does not hold.

        Args:
            names: checks or families; all that could be judged if none is given.

        Raises:
            CheckFailedError: (an ``AssertionError``) a check does not hold, or none of those that are
                named can be told of what was seen.
            NothingTrainedError: nothing was trained inside.
            UnknownCheckError: a name is neither a check's nor a family's.
        """
        __tracebackhide__ = True
        self.objection = "" if self.is_trained else self._nothing()
        self._require_training()
        chosen = select(names, option="check()") if names else self._rules.checks
        judged = [finding for finding in self.findings if finding.verdict.check in chosen]
        is_wanted = not set(self._rules.checks).isdisjoint(chosen)  # others the session has left out
        if names and is_wanted and not judged:
            self.objection = self.fault or NOT_SEEN.format(names=", ".join(names))
            raise CheckFailedError(self.objection)
        if failed := [finding for finding in judged if finding.fails]:
            raise CheckFailedError(failures_text(failed))
        self._rules.open([finding for finding in self.findings if not finding.fails])

    def __str__(self) -> str:
        return findings_text(self.findings)

    def end(self, traces: tuple[tuple[str, Trace], ...]) -> None:
        """Judge what was seen."""
        self.traces, self.has_ended = traces, True
        self.findings = tuple(
            ruled(finding, self._rules.policy, self._rules.strict)
            for name, trace in self.named_traces
            for finding in judge_watched(name, trace)
            if finding.verdict.check in self._rules.checks
        )

    def _require_training(self) -> None:
        __tracebackhide__ = True
        if not self.is_trained:
            raise NothingTrainedError(self._nothing())

    def _nothing(self) -> str:
        steps = sum(trace.trial.steps for _, trace in self.traces)
        if not steps and any(trace.row("loop").flag("was_cut_short") for _, trace in self.traces):
            return ENDED_EARLY
        return NO_BACKWARD.format(steps=steps) if steps else NOTHING


def watch(name: str = "", *, stop_after: int | None = None) -> AbstractContextManager[Watched]:
    """Watch whatever is trained inside; nothing of the loop has to change.

    Within a test of pytest it is the test's: named after it, judged by its policy and told at the end.

    Args:
        name: what to call it in reports.
        stop_after: optimizer steps after which the block is left, as if it had ended there.

    Returns:
        A context manager that gives what was found, once the block has ended; also where it raised.
    """
    if HERE.host is not None:
        return HERE.host(name, stop_after)
    return watched(name or "loop", Rules(Policy(), all_checks()), stop_after)


@contextmanager
def watched(name: str, rules: Rules, stop_after: int | None = None) -> Iterator[Watched]:
    """Watch whatever is trained inside, wherever that is.

    Args:
        name: what to call it in reports.
        rules: how it is judged.
        stop_after: optimizer steps after which the block is left, as if it had ended there.

    Yields:
        What was found, once the block has ended; also where it raised.
    """
    found, ears = Watched(name, rules), watcher(stop_after)
    try:
        with ears.watching():
            yield found
    finally:
        found.end(ears.traces())
