"""What a check is: one property a healthy training has, judged from traces alone. No torch, no I/O."""

from __future__ import annotations

import pkgutil
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import StrEnum
from functools import cache
from importlib import import_module
from inspect import cleandoc, isabstract
from typing import Any, ClassVar, Literal

from pytest_dlcheck.baseline import Baseline
from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.policy import Policy
from pytest_dlcheck.trace import Ending, Row, Trace
from pytest_dlcheck.trial import KINDS, Kind, Terms, Trial
from pytest_dlcheck.verdict import Measure, Outcome, Suspect, Verdict

Family = Literal["contract", "data", "dynamics", "learning", "loop", "tuning", "gate"]
OPT_IN: frozenset[Family] = frozenset({"loop", "tuning", "gate"})
"""Families that are run only where they, or a check of theirs, are asked for by name; ``loop`` also
wherever a loop is watched, and ``gate`` where a policy holds a recipe to a number."""
DEFAULT = "default"
"""The name of all checks that run where none are named: ``select=["default", "tuning"]``."""


class Effect(StrEnum):
    """What a fault does to the rest of a training; the vocabulary of causes and consequences.

    A check says which effect its own failure *shows* and which effects a failure of it *leads to*;
    nothing else ties checks to each other.
    """

    RUN = "the recipe runs"
    DATA = "the data says what it should"
    FLOOR = "what is minimised has a floor"
    LOOP = "the loop does its steps in order"
    OUTPUTS = "the outputs are usable"
    INDEPENDENCE = "samples stay apart"
    INPUTS = "the inputs are used"
    SIGNAL = "activations carry information"
    START = "the loss starts where it should"
    GRADIENTS = "gradients arrive"
    STABILITY = "the training stays stable"
    UPDATES = "parameters move"
    FITTING = "a batch can be fitted"
    PROGRESS = "the loss falls"
    LEARNING = "what is learned comes from the inputs"
    GENERALIZATION = "new data is predicted"


LOCAL = frozenset({Effect.GRADIENTS, Effect.UPDATES})
"""Effects that happen at a place: explained only by a failure at the same place."""


class UnknownCheckError(ValueError):
    """A name is neither a check's nor a family's; the message lists the valid ones."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The traces that a check is judged on.

    Attributes:
        traces: in the order in which the check asked for them; a second look comes last.
    """

    traces: tuple[Trace, ...]

    def of(self, kind: Kind, *, dense: bool = False, optimizer: str = "recipe") -> tuple[Trace, ...]:
        """The traces of one kind of trial, of the code at hand, a seed each.

        A loop that was watched stands for a training and for what an inspection would have found.
        """
        kinds = {kind, "watch"} if kind in {"inspect", "train"} else {kind}
        return tuple(
            trace
            for trace in self.traces
            if trace.trial.kind in kinds
            and not trace.trial.revision
            and (trace.trial.dense, trace.trial.optimizer) == (dense, optimizer)
        )

    def at(self, revision: str, kind: Kind) -> tuple[Trace, ...]:
        """The traces of one kind of trial of another commit's code."""
        return tuple(
            trace
            for trace in self.traces
            if trace.trial.kind == kind and trace.trial.revision == revision
        )

    def the(self, kind: Kind) -> Trace:
        """The first trace of that kind.

        Raises:
            LookupError: the check never asked for such a trial.
        """
        for trace in self.of(kind):
            return trace
        raise LookupError(f"no {kind} trial among the evidence: ask for it in trials()")


@dataclass(frozen=True, slots=True)
class Example:
    """Traces that show a check at work; the conformance suite judges them.

    Attributes:
        name: what the example shows, for example ``"detached encoder"``.
        traces: the evidence.
        sites: the sites that the verdict must suspect, first of all (sick examples).
        outcome: what the verdict must be; by default passed for healthy ones, failed for sick ones.
    """

    name: str
    traces: tuple[Trace, ...]
    sites: tuple[str, ...] = ()
    outcome: Outcome | None = None


@dataclass(frozen=True)
class Check(ABC):
    """One property a healthy training has.

    A check is one file: the class docstring says what it asserts, why it matters, how it decides,
    what it cannot see and its source; thresholds are dataclass fields whose comments give unit and
    origin; ``healthy`` and ``sick`` give the examples that prove it. To judge with other thresholds,
    use :func:`dataclasses.replace`.
    """

    family: ClassVar[Family]
    reads: ClassVar[frozenset[str]] = frozenset()
    """The channels and facts it is judged on: all must have been recorded for it to pass."""
    glances: ClassVar[frozenset[str]] = frozenset()
    """Channels and facts that it uses where they were recorded, and does without where not."""
    shows: ClassVar[Effect | None] = None
    leads_to: ClassVar[frozenset[Effect]] = frozenset()
    judges_divergence: ClassVar[bool] = False
    """Whether what was recorded until the loss broke can prove that it fails; it never passes then."""

    def under(self, policy: Policy, baseline: Baseline) -> Check:
        """This check with the thresholds and the past of one recipe; gates have such.

        Args:
            policy: how the recipe is to be judged.
            baseline: what was measured of it before.
        """
        del policy, baseline
        return self

    @abstractmethod
    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """The trials it is judged on, asked for by value."""

    @abstractmethod
    def decide(self, evidence: Evidence) -> Verdict:
        """The verdict on traces that ran to their end and hold all that the check reads."""

    def look_again(self, verdict: Verdict, evidence: Evidence) -> tuple[Trial, ...]:
        """Further trials wanted before this verdict stands: to confirm it, or to localise it.

        It is asked again with the evidence of those, until it wants no trial that was not run yet.
        """
        del verdict, evidence
        return ()

    @classmethod
    @abstractmethod
    def healthy(cls) -> Iterable[Example]:
        """Examples that pass."""

    @classmethod
    @abstractmethod
    def sick(cls) -> Iterable[Example]:
        """Examples that fail."""

    @property
    def name(self) -> str:
        """Completes "the training ...": ``gradients_flow``."""
        return _name_of(type(self))

    @property
    def summary(self) -> str:
        """The first line of what it asserts."""
        return cleandoc(type(self).__doc__ or "").splitlines()[0]

    def judge(self, evidence: Evidence) -> Verdict:
        """The verdict: a pure function of the traces.

        A run cut short, a channel that was not recorded, or a number that is not finite never pass.
        """
        verdict = self._cut_short(evidence) or self._unobserved(evidence) or self.decide(evidence)
        if verdict.outcome is Outcome.PASSED and (story := _interruption(evidence)):
            return self.inconclusive(story)
        if verdict.outcome is Outcome.PASSED and (place := self._non_finite(evidence)):
            return self.inconclusive(f"{place}, on which no verdict can rest")
        return verdict

    def passed(self, because: str, *measures: Measure, advice: Iterable[str] = ()) -> Verdict:
        """A verdict: the property holds."""
        return self._verdict(Outcome.PASSED, because, measures=measures, advice=tuple(advice))

    def failed(
        self,
        because: str,
        *measures: Measure,
        suspects: Iterable[Suspect] = (),
        cause: str = "",
        remedy: str = "",
        advice: Iterable[str] = (),
        leads_to: Iterable[Effect] | None = None,
    ) -> Verdict:
        """A verdict: the property surely does not hold."""
        return self._verdict(
            Outcome.FAILED,
            because,
            measures=measures,
            suspects=tuple(suspects),
            cause=cause,
            remedy=remedy,
            advice=tuple(advice),
            leads_to=frozenset(self.leads_to if leads_to is None else leads_to),
        )

    def failed_by(self, fault: Fault, *more: Effect, advice: Iterable[str] = ()) -> Verdict:
        """A verdict: the property surely does not hold, by a fault that can lead to more effects."""
        return self.failed(
            fault.because,
            *fault.measures,
            suspects=fault.suspects,
            cause=fault.cause,
            remedy=fault.remedy,
            advice=advice,
            leads_to=(*self.leads_to, *more),
        )

    def inconclusive(self, because: str, *measures: Measure, advice: Iterable[str] = ()) -> Verdict:
        """A verdict: it cannot be told."""
        return self._verdict(Outcome.INCONCLUSIVE, because, measures=measures, advice=tuple(advice))

    def not_applicable(self, because: str) -> Verdict:
        """A verdict: the recipe's facts rule the question out."""
        return self._verdict(Outcome.NOT_APPLICABLE, because)

    def _verdict(self, outcome: Outcome, because: str, **more: Any) -> Verdict:
        return Verdict(check=self.name, outcome=outcome, because=because, **more)

    def _cut_short(self, evidence: Evidence) -> Verdict | None:
        if not evidence.traces:
            return self.inconclusive("no trial was run")
        for trace in evidence.traces:
            ending, trial = trace.ending, trace.trial
            if ending.kind == "not_applicable":
                return self.not_applicable(ending.message)
            if ending.kind == "lost":
                return self.inconclusive(ending.message)
            if ending.kind in {"raised", "out_of_memory", "timed_out", "killed"}:
                return self._verdict(
                    Outcome.ERRORED,
                    _story(trial, ending),
                    suspects=(Suspect(ending.where, ending.detail),),
                    cause=ending.message,
                )
            if ending.kind == "diverged" and not self.judges_divergence:
                return self.inconclusive(_story(trial, ending))
        return None

    def _unobserved(self, evidence: Evidence) -> Verdict | None:
        for name in sorted(self.reads):
            for trace in evidence.traces:
                if name in trace.inapplicable:
                    return self.not_applicable(trace.inapplicable[name])
                if name in trace.unobserved:
                    return self.inconclusive(trace.unobserved[name])
            if not any(_recorded(trace, name) for trace in evidence.traces):
                return self.inconclusive(f"no {name.replace('_', ' ')} was recorded")
        return None

    def _non_finite(self, evidence: Evidence) -> str:
        for trace in evidence.traces:
            for name in sorted(self.reads | self.glances):
                if not trace.is_finite(name):
                    what = name.replace("_", " ")
                    return f"NaN or infinity was recorded as {what}, in the trial {trace.trial}"
        return ""


def example_trace(trial: Trial | None = None, **parts: Any) -> Trace:
    """A trace for an example: channels and facts by name, everything else as in a completed trial.

    Args:
        trial: the trial; a 100-step ``train`` where none is given.
        parts: :class:`Series` and :class:`Matrix` become channels, rows (or a single row) facts;
            ``ending``, ``unobserved``, ``inapplicable`` are taken as they are.
    """
    own = {k: parts.pop(k) for k in ("ending", "unobserved", "inapplicable") if k in parts}
    facts: dict[str, tuple[Row, ...]] = {}
    channels = {}
    for name, part in parts.items():
        if isinstance(part, Row):
            facts[name] = (part,)
        elif isinstance(part, (tuple, list)):
            facts[name] = tuple(part)
        else:
            channels[name] = part
    return replace(Trace(trial or Terms().train()[0], channels=channels, facts=facts), **own)


@cache
def _name_of(kind: type[Check]) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


@cache
def registry() -> Mapping[str, Check]:
    """Every check by name, in the order in which they are to be judged: causes first.

    Found by walking :mod:`pytest_dlcheck.checks`; a file there that cannot be loaded is an error.
    """
    package = import_module("pytest_dlcheck.checks")
    found = [
        value()
        for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
        for value in vars(import_module(info.name)).values()
        if isinstance(value, type)
        and issubclass(value, Check)
        and not isabstract(value)
        and value.__module__ == info.name
    ]
    return {check.name: check for check in sorted(found, key=_causes_first)}


def select(names: Iterable[str], *, option: str) -> tuple[str, ...]:
    """The checks that a list of check and family names stands for, causes first.

    Args:
        names: names of checks or of families (``"dynamics"``); ``"default"`` stands for what runs
            where none are named.
        option: where the names come from, for the message.

    Raises:
        UnknownCheckError: a name is neither; says the nearest match and lists the valid ones.
    """
    __tracebackhide__ = True
    checks = registry()
    families = {check.family for check in checks.values()}
    chosen: set[str] = set()
    for name in names:
        if name == DEFAULT:
            chosen.update(default_selection())
        elif name in families:
            chosen.update(n for n, check in checks.items() if check.family == name)
        elif name in checks:
            chosen.add(name)
        else:
            raise UnknownCheckError(unknown(option, name, [*checks, *sorted(families), DEFAULT]))
    return tuple(name for name in checks if name in chosen)


def default_selection(*more: Family) -> tuple[str, ...]:
    """The checks that run where none are named: all but those of opt-in families, causes first.

    Args:
        more: opt-in families that run all the same.
    """
    left_out = OPT_IN - set(more)
    return tuple(name for name, check in registry().items() if check.family not in left_out)


def unknown(option: str, name: str, valid: Iterable[str]) -> str:
    """The message for a name that does not exist: the nearest match and all valid ones."""
    valid = list(valid)
    near = get_close_matches(name, valid, n=1)
    hint = f", did you mean {near[0]!r}?" if near else ""
    return f"{option}: unknown name {name!r}{hint} (valid: {', '.join(valid)})"


def _causes_first(check: Check) -> tuple[int, int, str]:
    kinds = {trial.kind for trial in check.trials(Terms())}
    stage = max(KINDS.index(kind) for kind in kinds)
    effects = list(Effect)
    return stage, effects.index(check.shows) if check.shows else -1, check.name


def _story(trial: Trial, ending: Ending) -> str:
    step = f" at step {ending.step}" if ending.step is not None else ""
    where = f" ({ending.where})" if ending.where else ""
    what = {
        "raised": "raised an error",
        "out_of_memory": "ran out of memory",
        "timed_out": "ran out of time",
        "killed": "was killed",
        "diverged": "diverged" if ending.step else "was not finite from its first step",
    }[ending.kind]
    at = f" at {trial.revision[:10]}" if trial.revision else ""
    return f"the {trial.kind} trial{at} {what}{step}{where}: {ending.message}".rstrip(": ")


def _interruption(evidence: Evidence) -> str:
    """A run cut short never passes, whatever a check thinks of its ending."""
    cut = (trace for trace in evidence.traces if trace.ending.kind != "completed")
    return next((_story(trace.trial, trace.ending) for trace in cut), "")


def _recorded(trace: Trace, name: str) -> bool:
    return bool(trace.facts.get(name)) or len(trace.channels.get(name, ())) > 0
