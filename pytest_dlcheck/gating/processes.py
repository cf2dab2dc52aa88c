"""What gates on speed and memory share: which processes are asked for, which count, what they show."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from pytest_dlcheck.baseline import Baseline
from pytest_dlcheck.check import Check, Evidence
from pytest_dlcheck.gating.commit import Difference, against_commit, apart, in_turns, short
from pytest_dlcheck.gating.flaws import Flaw, asides, timing_flaw
from pytest_dlcheck.gating.pace import (
    FEWEST_RUNS,
    Looks,
    Quantity,
    Sample,
    against_bound,
    against_history,
)
from pytest_dlcheck.gating.ruling import Ruling
from pytest_dlcheck.policy import Policy
from pytest_dlcheck.trace import Trace
from pytest_dlcheck.trial import Kind, Terms, Trial
from pytest_dlcheck.verdict import Measure, Outcome, Verdict


@dataclass(frozen=True, slots=True)
class Setting:
    """One way of running a step.

    Attributes:
        batch_size: samples of a batch; None for the recipe's own.
        precision: None for the recipe's own.
    """

    batch_size: int | None = None
    precision: str | None = None

    def __str__(self) -> str:
        parts = [f"batches of {self.batch_size}"] if self.batch_size is not None else []
        parts += [self.precision] if self.precision is not None else []
        return f" ({', '.join(parts)})" if parts else ""

    @classmethod
    def of(cls, trial: Trial) -> Setting:
        """That of a trial."""
        return cls(trial.batch_size, trial.precision)


@dataclass(frozen=True)
class ProcessGate(Check):
    """A gate on what one fresh process after the other measures.

    A gate names its kind of trial, its quantity and its own number; what is asked of the processes and
    how they are judged is the same for all.
    """

    family = "gate"
    kind: ClassVar[Kind]

    # What each gate declares as fields, with where the numbers come from.
    margin: float
    processes: int
    pairs: int
    most: int
    most_pairs: int
    batch_sizes: tuple[int | None, ...]
    precisions: tuple[str | None, ...]
    baseline: Baseline

    @property
    @abstractmethod
    def bound(self) -> float | None:
        """What its policy holds it to, in its unit; None for nothing."""

    @abstractmethod
    def quantity(self, setting: Setting, traces: Sequence[Trace]) -> Quantity:
        """What is measured."""

    @abstractmethod
    def value(self, trace: Trace) -> float:
        """What a process measured, in the quantity's unit; NaN where it did not."""

    def blocks(self, trace: Trace) -> Sequence[float]:
        """What it measured block by block, in that unit; the one number, where it did so once."""
        return (self.value(trace),)

    @abstractmethod
    def beside(self, setting: Setting, traces: Sequence[Trace]) -> Iterable[Measure]:
        """Further numbers that only inform."""

    def flaw(self, trace: Trace) -> Flaw | None:
        """Why a process does not count; None where it does."""
        return timing_flaw(trace)

    def under(self, policy: Policy, baseline: Baseline) -> Check:
        """This gate with the numbers of one recipe."""
        asked: dict[str, Any] = dict(getattr(policy, self.name) or {})
        numbers = {name: asked[name] for name in ("at_least", "at_most", "margin") if name in asked}
        return replace(
            self,
            batch_sizes=tuple(asked.get("batch_size", self.batch_sizes)),
            precisions=tuple(asked.get("precision", self.precisions)),
            baseline=baseline,
            **numbers,
        )

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """As many processes as may decide it; those of two commits take turns."""
        revisions = ("", terms.against) if terms.against else ("",)
        count = self.pairs if terms.against else self.processes
        return tuple(
            terms.bench(
                self.kind, number, revision, batch_size=setting.batch_size, precision=setting.precision
            )
            for number in range(count)
            for setting in self._settings()
            for revision in alternating(revisions, number)
        )

    def judge(self, evidence: Evidence) -> Verdict:
        """As every check, but another commit that does not run leaves it open."""
        here = tuple(trace for trace in evidence.traces if not trace.trial.revision)
        if verdict := self._cut_short(Evidence(here)):
            return verdict
        for trace in evidence.traces:
            if trace.ending.kind != "completed" and trace.trial.revision:
                told = trace.ending.message or trace.ending.kind
                return self.inconclusive(f"{short(trace.trial.revision)} could not be measured: {told}")
        return super().judge(evidence)

    def decide(self, evidence: Evidence) -> Verdict:
        """Every setting against whatever it is held to; the worst of these decides."""
        groups = [self._group(setting, evidence) for setting in self._seen(evidence)]
        measures = tuple(measure for group in groups for measure in group.measures)
        advice = tuple(dict.fromkeys(told for group in groups for told in group.advice))
        rulings = [ruling for group in groups for ruling in group.rulings]
        for group in groups:
            if group.flaw:
                return self.inconclusive(group.flaw, *measures, advice=advice)
        if failing := [ruling for ruling in rulings if ruling.state == "fails"]:
            return self.failed(failing[0].because, *measures, advice=advice, remedy=failing[0].remedy)
        if vague := [ruling for ruling in rulings if ruling.state != "holds"]:
            return self.inconclusive(vague[0].because, *measures, advice=advice)
        if not rulings:
            told = "; ".join(group.story for group in groups)
            return self.passed(f"{told}; held against nothing", *measures, advice=advice)
        return self.passed("; ".join(ruling.because for ruling in rulings), *measures, advice=advice)

    def look_again(self, verdict: Verdict, evidence: Evidence) -> tuple[Trial, ...]:
        """More processes of what they have not decided yet."""
        if verdict.outcome is not Outcome.INCONCLUSIVE or not all(map(_ran, evidence.traces)):
            return ()
        wanted: list[Trial] = []
        for setting in self._seen(evidence):
            group = self._group(setting, evidence)
            most = group.most
            if not group.is_open or group.count >= most:
                continue
            first = group.here[0].trial
            more = group.further(self.processes)
            for number in range(group.count, min(most, group.count + more)):
                turns = alternating(("", group.revision) if group.revision else ("",), number)
                wanted += [replace(first, replicate=number, revision=turn) for turn in turns]
        return tuple(wanted)

    def _settings(self) -> Iterator[Setting]:
        for size in self.batch_sizes:
            for precision in self.precisions:
                yield Setting(size, precision)

    def _seen(self, evidence: Evidence) -> tuple[Setting, ...]:
        mine = (trace.trial for trace in evidence.traces if trace.trial.kind == self.kind)
        return tuple(dict.fromkeys(map(Setting.of, mine)))

    def _group(self, setting: Setting, evidence: Evidence) -> _Group:
        traces = [
            trace
            for trace in evidence.traces
            if trace.trial.kind == self.kind and Setting.of(trace.trial) == setting
        ]
        return _Group(self, setting, traces)


class _Group:
    """The processes of one setting, and what comes of them."""

    def __init__(self, gate: ProcessGate, setting: Setting, traces: Sequence[Trace]) -> None:
        self._gate = gate
        self.revision = next((t.trial.revision for t in traces if t.trial.revision), "")
        self.here = [trace for trace in traces if not trace.trial.revision]
        self._there = [trace for trace in traces if trace.trial.revision]
        self.count = len(self.here)
        self._flaws = [flaw for flaw in map(gate.flaw, traces) if flaw is not None]
        here, there = ([t for t in side if gate.flaw(t) is None] for side in (self.here, self._there))
        self._in_turns = all(trace.row("timing").flag("in_turns") for trace in (*here, *there))
        if self._in_turns:
            here, there = _with_counterpart(here, there), _with_counterpart(there, here)
        quantity = gate.quantity(setting, self.here)
        sample = Sample(quantity, tuple(map(gate.value, here)), gate.margin)
        self.flaw = self._what_spoils(here, there)
        self.rulings: tuple[Ruling, ...] = ()
        self.story = sample.story() if here else ""
        self.measures: tuple[Measure, ...] = ()
        self.advice = tuple(asides(gate.baseline, quantity.name, traces))
        if here:
            self.rulings = tuple(self._rule(sample, here, there))
            held = [ruling.measure for ruling in self.rulings if ruling.measure.name != quantity.name]
            own = sample.measure(gate.bound)
            self.measures = (own, *held, *gate.beside(setting, here))

    @property
    def is_open(self) -> bool:
        """Whether more processes may decide it."""
        if any(flaw.lasting for flaw in self._flaws):
            return False
        states = {ruling.state for ruling in self.rulings}
        return "fails" not in states and (bool(self.flaw) or "open" in states)

    @property
    def most(self) -> int:
        """How many processes a side it may take; few where these are spoiled, as others will be."""
        gate = self._gate
        if self.flaw:
            return 2 * (gate.pairs if self.revision else gate.processes)
        return self._most_sound

    @property
    def _most_sound(self) -> int:
        return self._gate.most_pairs if self.revision else self._gate.most

    def further(self, at_once: int) -> int:
        """How many more are asked for at a time: a second measurement, or one or two more."""
        return (
            max(1, at_once)
            if self._gate.baseline.name and not self.revision
            else 1 + bool(self.revision)
        )

    def _what_spoils(self, here: Sequence[Trace], there: Sequence[Trace]) -> str:
        if lasting := next((flaw.words for flaw in self._flaws if flaw.lasting), ""):
            return lasting
        needed = self._gate.pairs if self.revision else self._gate.processes
        fewest = min(len(here), len(there)) if self.revision else len(here)
        if fewest >= needed or not self._flaws:
            return ""
        spoiled, count = len(self._flaws), len(self.here) + len(self._there)
        return (
            f"{self._flaws[0].words}, in {spoiled} of {count} processes ({needed} sound ones are needed)"
        )

    def _rule(self, sample: Sample, here: Sequence[Trace], there: Sequence[Trace]) -> Iterator[Ruling]:
        gate = self._gate
        if gate.bound is not None:
            looks = Looks(gate.pairs if self.revision else gate.processes, self._most_sound)
            yield against_bound(sample, gate.bound, looks)
        runs = [run.value for run in gate.baseline.of(sample.quantity.name)]
        if len(runs) >= FEWEST_RUNS:
            name = gate.baseline.name or "the history"
            yield against_history(sample, runs, name, gate.processes)
        if there:
            looks = Looks(gate.pairs, gate.most_pairs)
            difference = self._difference(sample.quantity, here, there)
            yield against_commit(sample, difference, self.revision, looks)

    def _difference(
        self, quantity: Quantity, here: Sequence[Trace], there: Sequence[Trace]
    ) -> Difference:
        """Pair by pair, where all of them took the time in turns."""
        gate = self._gate
        if self._in_turns:
            bases = {trace.trial.replicate: quantity.badness(gate.blocks(trace)) for trace in there}
            heads = ((t.trial.replicate, quantity.badness(gate.blocks(t))) for t in here)
            return in_turns([(head, bases[number]) for number, head in heads])
        head, base = (quantity.badness(tuple(map(gate.value, side))) for side in (here, there))
        return apart(head, base)


def _with_counterpart(traces: Sequence[Trace], others: Sequence[Trace]) -> list[Trace]:
    """Those of pairs of which both count."""
    known = {trace.trial.replicate for trace in others}
    return [trace for trace in traces if trace.trial.replicate in known]


def _ran(trace: Trace) -> bool:
    return trace.ending.kind == "completed"


def alternating(revisions: tuple[str, ...], number: int) -> tuple[str, ...]:
    """Head first in one round and base first in the next, so that a drift of the machine cancels."""
    return revisions if number % 2 == 0 else revisions[::-1]
