"""A recipe's own metrics are gated like accuracy, each in its own sense and unit."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from pytest_dlcheck import Recipe
from pytest_dlcheck.baseline import NO_BASELINE, Baseline, Past
from pytest_dlcheck.policy import merge
from pytest_dlcheck.session import Examination, Subject
from pytest_dlcheck.verdict import Outcome


def mae(outputs, targets):
    return (outputs - targets).abs().mean()


def line(**more):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(600, 3, generator=generator)
    y = x.sum(1, keepdim=True) + 0.1 * torch.randn(600, 1, generator=generator)
    model = nn.Linear(3, 1)
    given = {"metrics": {"mae": mae}, "optimizer": torch.optim.Adam(model.parameters(), lr=0.05)}
    parts = {"train_data": (x[:400], y[:400]), "val_data": (x[400:], y[400:]), "loss": nn.MSELoss()}
    return Recipe(**{"model": model, **parts, **given, **more})


def verdict(factory, baseline=NO_BASELINE, **policy):
    asked = merge([{"device": "cpu", "steps": 150, **policy}], {})
    return Examination(Subject("it", asked, ("metrics",), baseline=baseline)).judge("metrics", factory)


@pytest.mark.parametrize(
    ("bound", "outcome"),
    [
        ("<= 0.2", Outcome.PASSED),
        ("<= 0.04", Outcome.FAILED),
        (">= 0.2", Outcome.FAILED),
        (0.04, Outcome.PASSED),
    ],
)
def test_a_metric_must_reach_its_number_in_its_sense(bound, outcome):
    told = verdict(line, metrics={"mae": bound})
    assert told.outcome is outcome, told
    assert "mae" in told.because


def test_several_metrics_must_all_hold():
    told = verdict(line, metrics={"mae": "<= 0.2", "loss": "<= 0.001"})
    assert told.outcome is Outcome.FAILED
    assert told.because.startswith("loss")
    assert [measure.name for measure in told.measures] == ["mae", "loss"]


def test_an_unknown_name_is_an_error_that_lists_what_there_is():
    told = verdict(line, metrics={"f1": 0.5})
    assert told.outcome is Outcome.ERRORED
    assert "f1: the recipe gives loss, mae alone" in told.because


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_metric_that_is_not_finite_holds_to_nothing(value):
    told = verdict(lambda: line(metrics={"bad": lambda *_: value, "mae": mae}), metrics={"bad": "<= 1"})
    assert told.outcome is Outcome.INCONCLUSIVE
    assert f"bad: it is {value}" in told.because


def test_it_spoils_no_other_metric():
    told = verdict(
        lambda: line(metrics={"bad": lambda *_: math.nan, "mae": mae}), metrics={"mae": "<= 0.2"}
    )
    assert told.outcome is Outcome.PASSED, told


@pytest.mark.parametrize("metric", [lambda *_: "high", lambda *_: 1 / 0, lambda o, _: o])
def test_a_metric_that_is_no_number_is_an_error(metric):
    told = verdict(lambda: line(metrics={"bad": metric}), metrics={"bad": "<= 1"})
    assert told.outcome is Outcome.ERRORED
    assert "bad: it " in told.because


def test_without_numbers_all_are_measured():
    told = verdict(line)
    assert told.outcome is Outcome.PASSED
    assert [measure.name for measure in told.measures] == ["mae", "loss"]


def test_accuracy_may_be_named_among_them():
    told = verdict(lambda: line(metrics={"accuracy": lambda *_: 0.99}), metrics={"accuracy": 0.5})
    assert told.outcome is Outcome.PASSED, told


def test_the_past_is_held_against_where_the_sense_is_known():
    runs = {"mae": tuple(Past(str(i), float(i), 0.01 + 1e-4 * (i % 3)) for i in range(6))}
    worse = verdict(line, Baseline("main", runs), metrics={"mae": "<= 0.2"})
    assert worse.outcome is Outcome.FAILED
    assert "6 runs of main" in worse.because
    unknown = verdict(line, Baseline("main", runs), metrics={"mae": True})
    assert unknown.outcome is Outcome.PASSED
    assert "say whether more is better" in unknown.because


def test_what_has_no_value_is_told_beside_what_has_one():
    told = verdict(lambda: line(metrics={"bad": lambda *_: math.nan, "mae": mae}))
    assert told.outcome is Outcome.PASSED
    assert "bad: it is nan" in told.because
    assert [measure.name for measure in told.measures] == ["mae", "loss"]
