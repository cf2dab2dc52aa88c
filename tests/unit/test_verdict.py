"""Verdicts are values that survive JSON; measures speak with their bound and unit."""

from __future__ import annotations

import json
import math

import pytest

from pytest_dlcheck.verdict import Measure, Outcome, Suspect, Verdict


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("value", [1.5, math.inf, -math.inf])
def test_a_verdict_survives_strict_json(outcome, value):
    verdict = Verdict(
        check="loss_decreases",
        outcome=outcome,
        because="it rose",
        measures=(
            Measure("slope", value, "nats/step", 0.0, "<="),
            Measure("steps", 3, "count"),
            Measure("rate", 2.0, "1/s", low=-math.inf, high=value, samples=(1.0, value)),
        ),
        suspects=(Suspect("", "all of it"), Suspect("a.b", "none", "fix it")),
        cause="c",
        remedy="r",
        advice=("one", "two"),
        leads_to=frozenset({"the loss falls"}),
    )
    assert Verdict.from_json(json.loads(json.dumps(verdict.to_json(), allow_nan=False))) == verdict


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        (Measure("loss", 0.123456, "nats"), "loss 0.1235 nats"),
        (Measure("share", 0.5, "ratio", 0.9, ">="), "share 0.5 (must be >= 0.9)"),
        (Measure("time", 2.0, "s", 1.0), "time 2 s (must be <= 1 s)"),
        (Measure("time", 2.0, "s", low=1.5, high=2.25), "time 2 s [1.5, 2.25]"),
    ],
)
def test_a_measure_in_words(measure, words):
    assert str(measure) == words


def test_only_a_failure_is_one():
    assert [o for o in Outcome if Verdict(check="x", outcome=o, because="").failed] == [Outcome.FAILED]
