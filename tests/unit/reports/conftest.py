"""Contents of a journal, made by hand."""

from __future__ import annotations

import math

import pytest

from pytest_dlcheck.check import example_trace
from pytest_dlcheck.finding import Finding, TrialSummary
from pytest_dlcheck.reports.contents import Contents
from pytest_dlcheck.trace import Matrix, Row, Series
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Outcome, Suspect, Verdict

SESSION = {
    "started": "2026-01-02T03:04:05Z",
    "python": "3.12.1",
    "torch": "2.9.0",
    "pytest_dlcheck": "0.1.0",
    "platform": "linux x86_64",
    "device": "auto",
}


def _trace(trial: Trial):
    steps = (0, 1, 2)
    sites = ("encoder.0.weight", "encoder.0.bias", "head.weight")
    rows = ((3.0, 4.0, None), (0.0, 0.0, 1.0), (6.0, 8.0, math.inf))
    return example_trace(
        trial,
        loss=Series(steps, (2.0, 1.0, 0.5)),
        learning_rate=Series(steps, (0.1, 0.1, 0.05)),
        seconds=Series(steps, (0.5, 0.25, 0.25)),
        gradient_norm=Matrix(steps, sites, rows),
        update_norm=Matrix(steps, sites, ((0.3, 0.4, 0.0),) * 3),
        parameter_norm=Matrix(steps, sites, ((3.0, 4.0, 0.0),) * 3),
        recipe=Row(model="Net", loss="CrossEntropyLoss", optimizer="AdamW", batch_size=32),
        parameters=[Row(name="encoder.0.weight", numel=12), Row(name="head.weight", numel=8)],
        validation=[Row(data="val", loss=0.7, classified=64, correct=48)],
    )


def _findings(recipe: str) -> list[Finding]:
    cause = Verdict(
        check="gradients_flow",
        outcome=Outcome.FAILED,
        because="2 of 4 parameters receive no gradient (at most 0 may)",
        measures=(Measure("parameters without gradient", 2, "count", 0),),
        suspects=(Suspect("encoder.0.weight", "none"),),
        cause="the graph is cut between `encoder` and `head`",
        remedy="remove .detach() there",
    )
    led_to = Verdict(
        check="loss_decreases", outcome=Outcome.FAILED, because="the loss rose by 12.3456 %"
    )
    passed = Verdict(
        check="causality",
        outcome=Outcome.PASSED,
        because="fine",
        measures=(Measure("change", 0.123456, "ratio", 1.0),),
        advice=("take smaller batches",),
    )
    trial = TrialSummary("train (3 steps)", "train", 1.0, 3, (2.0, 1.0, 0.5), 1234.5)
    open_ones = [
        Verdict(check=name, outcome=Outcome.INCONCLUSIVE, because="the training diverged")
        for name in ("units_are_alive", "generalizes")
    ]
    return [
        Finding(recipe, passed, trials=(trial,)),
        Finding(recipe, cause),
        Finding(recipe, led_to, because_of="gradients_flow"),
        *(Finding(recipe, verdict) for verdict in open_ones),
    ]


@pytest.fixture
def make_contents():
    """Makes the contents of a journal, with a recipe of each name: one cause, one consequence."""

    def made(*recipes: str) -> Contents:
        return Contents(
            session=dict(SESSION),
            recipes={name: {"file": "tests/test_it.py", "line": 7} for name in recipes},
            traces={name: [_trace(trial) for trial in Terms(seeds=2).train()] for name in recipes},
            findings=[finding for name in recipes for finding in _findings(name)],
            ended=True,
        )

    return made


@pytest.fixture
def contents(make_contents):
    return make_contents("cut")
