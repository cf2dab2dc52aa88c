"""JUnit's properties: names and values, with units and bounds."""

from __future__ import annotations

import math

from pytest_dlcheck.finding import Finding, TrialSummary
from pytest_dlcheck.reports.junit import properties
from pytest_dlcheck.verdict import Measure, Outcome, Suspect, Verdict


def test_everything_that_is_known_is_a_property():
    verdict = Verdict(
        check="x",
        outcome=Outcome.FAILED,
        because="so",
        measures=(Measure("final loss", math.nan, "nats", 1.0), Measure("steps", 3, "count")),
        suspects=(Suspect("a", "none"), Suspect("b", "none")),
        cause="c",
        advice=("one", "two"),
    )
    trial = TrialSummary("inspect", "inspect", 0.5, 0, (), None)
    assert properties(Finding("digits[1]", verdict, "y", (trial,))) == [
        ("dlcheck.recipe", "digits[1]"),
        ("dlcheck.check", "x"),
        ("dlcheck.outcome", "failed"),
        ("dlcheck.because", "so"),
        ("dlcheck.because_of", "y"),
        ("dlcheck.cause", "c"),
        ("dlcheck.sites", "a, b"),
        ("dlcheck.measure.final_loss", "nan nats"),
        ("dlcheck.measure.final_loss.bound", "<= 1 nats"),
        ("dlcheck.measure.steps", "3 count"),
        ("dlcheck.advice", "one"),
        ("dlcheck.advice", "two"),
        ("dlcheck.trial", "inspect: 0.500 s"),
    ]


def test_what_is_not_known_is_left_out():
    verdict = Verdict(check="x", outcome=Outcome.PASSED, because="so", cause="no matter")
    names = [name for name, _ in properties(Finding("digits", verdict))]
    assert names == ["dlcheck.recipe", "dlcheck.check", "dlcheck.outcome", "dlcheck.because"]
