"""Every check keeps the rules of the house, and the rules catch those that would not."""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest

from pytest_dlcheck.check import Check, Evidence, Example, example_trace, registry
from pytest_dlcheck.explanation import sections, thresholds
from pytest_dlcheck.trace import Ending, Matrix, Row, Series, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Outcome, Suspect, Verdict

CUT_SHORT = ("timed_out", "killed", "raised", "out_of_memory", "diverged")
HEADINGS = ("Why it matters", "How it decides", "What it cannot see", "Source")
"""The sections of a check's docstring; before them its summary and, if need be, what it asserts."""
LINES = 150
NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d.,]*(?:e[-+]?\d+)?", re.IGNORECASE)


# -- the rules: each takes a check and complains by AssertionError --------------------------------


def healthy_passes(check: Check) -> None:
    examples = list(check.healthy())
    assert examples, "no healthy example"
    for example in examples:
        verdict = judged(check, example)
        assert verdict.outcome is (example.outcome or Outcome.PASSED), told(example, verdict)


def sick_fails_at_its_site(check: Check) -> None:
    examples = list(check.sick())
    assert examples, "no sick example"
    for example in examples:
        verdict = judged(check, example)
        assert verdict.outcome is (example.outcome or Outcome.FAILED), told(example, verdict)
        assert verdict.sites[: len(example.sites)] == example.sites, told(example, verdict)


def cut_short_never_passes(check: Check) -> None:
    for example in check.healthy():
        for kind in CUT_SHORT:
            for index, trace in enumerate(example.traces):
                ending = Ending(kind, 3, "cut short")
                traces = put(example.traces, index, replace(trace, ending=ending))
                verdict = check.judge(Evidence(traces))
                assert verdict.outcome is not Outcome.PASSED, f"{kind}: {told(example, verdict)}"


def nothing_never_passes(check: Check) -> None:
    for example in check.healthy():
        empty = tuple(Trace(trace.trial) for trace in example.traces)
        verdict = check.judge(Evidence(empty))
        assert verdict.outcome is not Outcome.PASSED, told(example, verdict)
    assert check.judge(Evidence(())).outcome is not Outcome.PASSED


def not_a_number_never_passes(check: Check) -> None:
    for example in check.healthy():
        for place, evidence in poisoned(check, example):
            verdict = check.judge(evidence)
            assert verdict.outcome is not Outcome.PASSED, f"{place}: {told(example, verdict)}"


def judged_twice_agrees(check: Check) -> None:
    for example in examples_of(check):
        assert judged(check, example) == judged(check, example), example.name


def survives_json(check: Check) -> None:
    for example in examples_of(check):
        verdict = judged(check, example)
        read = Verdict.from_json(json.loads(json.dumps(verdict.to_json(), allow_nan=False)))
        assert as_text(read) == as_text(verdict), example.name
        again = [json.loads(json.dumps(t.to_json(), allow_nan=False)) for t in example.traces]
        traces = tuple(Trace.from_json(data) for data in again)
        assert as_text(check.judge(Evidence(traces))) == as_text(verdict), example.name


def because_holds_number_and_bound(check: Check) -> None:
    for example in examples_of(check):
        verdict = judged(check, example)
        if verdict.outcome not in {Outcome.PASSED, Outcome.FAILED}:
            continue
        assert "\n" not in verdict.because, told(example, verdict)
        assert any(m.bound is not None for m in verdict.measures), f"no bound: {verdict.measures}"
        assert len(NUMBER.findall(verdict.because)) >= 2, told(example, verdict)


def is_documented(check: Check) -> None:
    text = inspect.cleandoc(type(check).__doc__ or "")
    said = sections(check)
    headed = [section for section in said if section.title]
    assert tuple(section.title for section in headed) == HEADINGS, [s.title for s in said]
    bare = [title for title in HEADINGS if not re.search(rf"\n\n\*\*{title}\.\*\* \S", text)]
    assert not bare, f"no paragraph begins with the bold heading, its full stop and a word: {bare}"
    assert all("\n\n" not in section.text for section in said if not section.title), (
        "more than one paragraph before the headings"
    )


def tells_its_thresholds(check: Check) -> None:
    untold = [threshold.name for threshold in thresholds(check) if not threshold.text]
    assert not untold, f"thresholds without a docstring: {untold}"


def completes_the_sentence(check: Check) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", check.name), check.name
    assert VERBS & set(check.name.split("_")), f"the training {check.name.replace('_', ' ')}?"


def is_short(check: Check) -> None:
    lines = len(Path(inspect.getsourcefile(type(check)) or "").read_text("utf-8").splitlines())
    assert lines <= LINES, f"{lines} lines, at most {LINES}"


VERBS = frozenset(
    {
        *("is", "are", "has", "have", "stays", "stay", "holds", "does", "do", "keeps", "keep", "moves"),
        *("flows", "flow", "updates", "update", "fits", "learns", "overfits", "decreases"),
        *("beats", "covers", "uses", "starts", "generalizes", "persists", "passes", "trains"),
        *("reproduces",),
    }
)
NOUNS = frozenset({"shape_contract", "batch_independence", "causality", "accuracy", "metrics"}) | {
    "throughput",
    "latency",
    "peak_memory",
}
"""Names that the catalogue gives as nouns: "the training keeps its shape contract"."""
RULES: list[Callable[[Check], None]] = [
    healthy_passes,
    sick_fails_at_its_site,
    cut_short_never_passes,
    nothing_never_passes,
    not_a_number_never_passes,
    judged_twice_agrees,
    survives_json,
    because_holds_number_and_bound,
    is_documented,
    tells_its_thresholds,
    completes_the_sentence,
    is_short,
]


# -- every check of the registry ------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("name", registry())
def test_check(name, rule):
    if rule is completes_the_sentence and name in NOUNS:
        return
    rule(registry()[name])


# -- the rules themselves can fail ----------------------------------------------------------------


@dataclass(frozen=True)
class LossIsLow(Check):
    """The loss is low.

    The mean loss is at most ``bound``.

    **Why it matters.** It does not: it is a well-behaved stand-in.

    **How it decides.** By the mean loss.

    **What it cannot see.** Anything else.

    **Source.** None.
    """

    family = "dynamics"
    reads = frozenset({"loss"})
    bound: float = 1.0
    """Loss, in its own unit."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        return terms.train()

    def decide(self, evidence: Evidence) -> Verdict:
        values = evidence.the("train").series("loss").values
        mean = sum(values) / len(values)
        say = f"mean loss {mean:.3g} (at most {self.bound:g})"
        measure = Measure("loss", mean, "nats", self.bound)
        if mean > self.bound:
            return self.failed(say, measure, suspects=[Suspect("loss", "high")])
        return self.passed(say, measure)

    @classmethod
    def healthy(cls):
        yield Example("low", (example_trace(loss=Series((0, 1), (0.5, 0.4))),))

    @classmethod
    def sick(cls):
        yield Example("high", (example_trace(loss=Series((0, 1), (2.5, 2.4))),), ("loss",))


class FailsTheHealthy(LossIsLow):
    def decide(self, evidence):
        return self.failed("1 of 2", suspects=[Suspect("loss", "high")])


class BlamesTheWrongSite(LossIsLow):
    def decide(self, evidence):
        verdict = super().decide(evidence)
        return replace(verdict, suspects=(Suspect("data", "wrong"),)) if verdict.failed else verdict


class TrustsAnyEnding(LossIsLow):
    def judge(self, evidence):
        return self.decide(evidence)


class TrustsNothing(LossIsLow):
    reads = frozenset()

    def judge(self, evidence):
        return self.passed("0 of 0")


class TrustsNotANumber(LossIsLow):
    def _non_finite(self, evidence):
        return ""


class ChangesItsMind(LossIsLow):
    asked: ClassVar[list[int]] = []

    def decide(self, evidence):
        self.asked.append(0)
        return replace(super().decide(evidence), cause=f"asked {len(self.asked)} times")


class SaysWhatJsonCannot(LossIsLow):
    def decide(self, evidence):
        return replace(super().decide(evidence), cause={"no text"})


class GivesNoBound(LossIsLow):
    def decide(self, evidence):
        return replace(super().decide(evidence), measures=())


class GivesNoNumber(LossIsLow):
    def decide(self, evidence):
        return replace(super().decide(evidence), because="the loss is as it should be")


class SaysNothing(LossIsLow):
    """Low."""


class SaysTooLittle(LossIsLow):
    __doc__ = (LossIsLow.__doc__ or "").replace("**What it cannot see.** Anything else.", "")


class SaysItInAnotherOrder(LossIsLow):
    __doc__ = (
        (LossIsLow.__doc__ or "")
        .replace("Why it matters", "What")
        .replace("How it decides", "Why it matters")
        .replace("What.", "How it decides.")
    )


class SaysItWithoutHeadings(LossIsLow):
    __doc__ = (LossIsLow.__doc__ or "").replace("**", "")


class SaysNothingUnderAHeading(LossIsLow):
    __doc__ = (LossIsLow.__doc__ or "").replace("Anything else.", "")


class SaysItAfterAColon(LossIsLow):
    __doc__ = (LossIsLow.__doc__ or "").replace("**Source.** None", "**Source**: none")


class AssertsAtLength(LossIsLow):
    __doc__ = inspect.cleandoc(LossIsLow.__doc__ or "").replace("\n**Why", "\nIt is.\n\n**Why")


@dataclass(frozen=True)
class HidesAThreshold(LossIsLow):
    __doc__ = LossIsLow.__doc__
    bound: float = 1.0
    """Loss, in its own unit."""
    secret_bound: float = 2.0


class Loss(LossIsLow):
    pass


CAUGHT = [
    (healthy_passes, FailsTheHealthy),
    (sick_fails_at_its_site, BlamesTheWrongSite),
    (cut_short_never_passes, TrustsAnyEnding),
    (nothing_never_passes, TrustsNothing),
    (not_a_number_never_passes, TrustsNotANumber),
    (judged_twice_agrees, ChangesItsMind),
    (survives_json, SaysWhatJsonCannot),
    (because_holds_number_and_bound, GivesNoBound),
    (because_holds_number_and_bound, GivesNoNumber),
    (is_documented, SaysNothing),
    (is_documented, SaysTooLittle),
    (is_documented, SaysItInAnotherOrder),
    (is_documented, SaysItWithoutHeadings),
    (is_documented, SaysNothingUnderAHeading),
    (is_documented, SaysItAfterAColon),
    (is_documented, AssertsAtLength),
    (tells_its_thresholds, HidesAThreshold),
    (completes_the_sentence, Loss),
    (is_short, LossIsLow),  # this very file is too long to hold a check
]


@pytest.mark.parametrize(("rule", "bad"), CAUGHT, ids=lambda part: part.__name__)
def test_a_rule_catches_a_bad_check(rule, bad):
    with pytest.raises((AssertionError, TypeError)):
        rule(bad())


@pytest.mark.parametrize("rule", [r for r in RULES if r is not is_short], ids=lambda r: r.__name__)
def test_a_good_check_breaks_no_rule(rule):
    rule(LossIsLow())


def test_every_rule_is_proven_to_catch():
    assert {rule for rule, _ in CAUGHT} == set(RULES)


def test_poison_reaches_every_number():
    matrix = Matrix((0, 1), ("a", "b"), ((1.0, None), (2.0, 3.0)))
    trace = example_trace(loss=Series((0, 1), (0.5, 0.4)), gradient_norm=matrix, fact=Row(x=1.0, n="a"))

    class Reads(LossIsLow):
        reads = frozenset({"loss", "gradient_norm", "fact"})

    places = [place for place, _ in poisoned(Reads(), Example("all", (trace,)))]
    assert len(places) == 2 + 3 + 1


# -- helpers --------------------------------------------------------------------------------------


def examples_of(check: Check) -> list[Example]:
    return [*check.healthy(), *check.sick()]


def judged(check: Check, example: Example) -> Verdict:
    return check.judge(Evidence(example.traces))


def told(example: Example, verdict: Verdict) -> str:
    return f"{example.name!r} is {verdict.outcome}: {verdict.because} {verdict.sites}"


def as_text(verdict: Verdict) -> str:
    """Equal for equal verdicts, also where a number is NaN and equals nothing."""
    return json.dumps(verdict.to_json(), sort_keys=True, allow_nan=False)


def put(traces: tuple[Trace, ...], index: int, trace: Trace) -> tuple[Trace, ...]:
    return (*traces[:index], trace, *traces[index + 1 :])


def poisoned(check: Check, example: Example) -> Iterator[tuple[str, Evidence]]:
    """The example with one NaN at each place where the check finds a number."""
    for index, trace in enumerate(example.traces):
        for name in sorted(check.reads | check.glances):
            for place, bad in poisoned_traces(trace, name):
                yield f"{name} {place}", Evidence(put(example.traces, index, bad))


def poisoned_traces(trace: Trace, name: str) -> Iterator[tuple[str, Trace]]:
    channel = trace.channels.get(name)
    if isinstance(channel, Series):
        for i in range(len(channel)):
            values = tuple(math.nan if i == j else v for j, v in enumerate(channel.values))
            bad = replace(channel, values=values)
            yield f"[{i}]", replace(trace, channels={**trace.channels, name: bad})
    if isinstance(channel, Matrix):
        for i, row in enumerate(channel.values):
            for j in (j for j, value in enumerate(row) if value is not None):
                fresh = tuple(math.nan if j == k else v for k, v in enumerate(row))
                values = (*channel.values[:i], fresh, *channel.values[i + 1 :])
                bad = replace(channel, values=values)
                yield f"[{i}, {j}]", replace(trace, channels={**trace.channels, name: bad})
    rows = trace.facts.get(name, ())
    for i, row in enumerate(rows):
        for key in (key for key, value in row.items() if isinstance(value, float)):
            bad = (*rows[:i], Row(row, **{key: math.nan}), *rows[i + 1 :])
            yield f"[{i}].{key}", replace(trace, facts={**trace.facts, name: bad})
