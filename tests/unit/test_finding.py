"""Findings: what travels between processes and to every report."""

from __future__ import annotations

import json
import math

from pytest_dlcheck.finding import CURVE_POINTS, Finding, TrialSummary, by_recipe, problems
from pytest_dlcheck.trace import Ending, Row, Series, Trace
from pytest_dlcheck.trial import Trial
from pytest_dlcheck.verdict import Outcome, Verdict

VERDICT = Verdict(check="x", outcome=Outcome.FAILED, because="it did")


def trace(kind="train", steps=100, **facts):
    losses = Series(tuple(range(steps)), tuple(float(steps - i) for i in range(steps)))
    seconds = Series(tuple(range(steps)), (9.0, *(0.5,) * (steps - 1)))
    rows = {name: (row,) for name, row in facts.items()}
    return Trace(
        Trial(kind, steps), channels={"loss": losses, "seconds": seconds}, facts=rows, seconds=3.0
    )


def test_a_finding_survives_strict_json():
    summary = TrialSummary("train", "train", math.nan, 2, (math.inf, 1.0), None)
    cause = Verdict(check="y", outcome=Outcome.FAILED, because="it began")
    trials = (TrialSummary.of(trace()), summary)
    finding = Finding("digits[64]", VERDICT, "y", trials, "known", explained=cause)
    text = json.dumps(finding.to_json(), allow_nan=False)
    assert json.dumps(Finding.from_json(json.loads(text)).to_json(), allow_nan=False) == text


def test_a_consequence_stands_for_the_cause_that_nobody_was_told_of():
    cause = Verdict(check="y", outcome=Outcome.FAILED, because="it began", cause="a cut", remedy="join")
    led_to = Finding("digits", VERDICT, because_of="y", explained=cause)
    ((stands, rest),) = problems([led_to])
    assert (stands.verdict.check, stands.verdict.because) == ("x", "because of y: it did")
    assert (stands.verdict.cause, stands.verdict.remedy, rest) == ("a cut", "join", [])
    known = Finding("digits", cause)
    assert problems([known, led_to]) == [(known, [led_to])]


def test_a_long_curve_is_thinned_out_with_both_ends_kept():
    summary = TrialSummary.of(trace(steps=1000))
    assert len(summary.losses) == CURVE_POINTS
    assert (summary.losses[0], summary.losses[-1]) == (1000.0, 1.0)
    assert summary.steps == 1000
    assert len(TrialSummary.of(trace(steps=7)).losses) == 7


def test_throughput_counts_micro_batches_and_leaves_out_the_first_step():
    row = Row(batch_size=32, accumulate=2)
    assert TrialSummary.of(trace(recipe=row)).samples_per_second == 32 * 2 / 0.5


def test_throughput_is_unknown_rather_than_wrong():
    row = Row(batch_size=None, accumulate=1)
    assert TrialSummary.of(trace(recipe=row)).samples_per_second is None
    full = Row(batch_size=32, accumulate=1)
    assert TrialSummary.of(trace("overfit", recipe=full)).samples_per_second is None
    assert TrialSummary.of(trace(steps=1, recipe=full)).samples_per_second is None


def test_findings_are_grouped_in_the_order_of_their_first_appearance():
    findings = [Finding(name, VERDICT) for name in ("b", "a", "b")]
    assert {name: len(group) for name, group in by_recipe(findings).items()} == {"b": 2, "a": 1}
    assert list(by_recipe(findings)) == ["b", "a"]


def test_a_trial_that_was_ended_has_taken_the_steps_that_it_told_of():
    """Its process is gone, and its losses with it."""
    ended = Trace(Trial("train", 1000), Ending("timed_out", 543), seconds=8.0)
    assert TrialSummary.of(ended).steps == 543
