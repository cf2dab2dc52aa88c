"""Accuracy is gated on whole trainings: seeds one at a time, folds, other commits, the past."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from pytest_dlcheck import Recipe
from pytest_dlcheck.baseline import NO_BASELINE, Baseline, Past
from pytest_dlcheck.check import registry
from pytest_dlcheck.judging import judge_again
from pytest_dlcheck.policy import merge
from pytest_dlcheck.session import Examination, Subject, split
from pytest_dlcheck.trace import Trace
from pytest_dlcheck.verdict import Outcome


def data(count=600, noise=0.3):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 3
    inputs = nn.functional.one_hot(labels, 3) + noise * torch.randn(count, 3, generator=generator)
    return TensorDataset(inputs, labels)


def made(train, val, **more):
    model = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 3))
    given = {"loss": nn.CrossEntropyLoss(), "optimizer": torch.optim.Adam(model.parameters(), lr=0.05)}
    loader = DataLoader(train, batch_size=32, shuffle=True)
    return Recipe(**{"model": model, "train_data": loader, "val_data": val, **given, **more})


def healthy(count=1_200, **more):
    train, val = split(data(count), seed=1)
    return made(train, val, **more)


def folded():
    return healthy()


def unfolded():
    return made(data(), data())


def examined(factory, *, alone=None, against="", baseline=NO_BASELINE, check="accuracy", **policy):
    asked = merge([{"device": "cpu", "steps": 60, **policy}], {})
    subject = Subject("it", asked, (check,), baseline=baseline, against=against)
    examination = Examination(subject, alone=alone)
    examination.judge(check, factory)
    return examination


def verdict(*args, check="accuracy", **more):
    return examined(*args, check=check, **more).verdicts[check]


def test_a_good_training_passes_after_few_seeds():
    found = examined(healthy, accuracy=0.8)
    assert found.verdicts["accuracy"].outcome is Outcome.PASSED, found.verdicts
    (measure,) = found.verdicts["accuracy"].measures
    assert measure.low < measure.value < measure.high
    assert measure.bound == 0.8
    assert len(measure.samples) == len(found.traces) < 5


def test_a_bad_training_fails_early():
    found = examined(healthy, accuracy=0.99, steps=2)
    assert found.verdicts["accuracy"].outcome is Outcome.FAILED, found.verdicts
    assert len(found.traces) < 5


def test_so_many_seeds_are_measured_at_least():
    found = examined(healthy, accuracy=0.8, seeds=3)
    assert [trial.seed for trial in found.traces] == [0, 1, 2]
    assert found.verdicts["accuracy"].outcome is Outcome.PASSED


def test_seeds_are_added_one_at_a_time_and_then_spent():
    close = examined(healthy, accuracy=0.8).verdicts["accuracy"].measures[0].value
    found = examined(
        healthy, accuracy={"at_least": close + 0.0005, "margin": 0}, max_seeds=3, check="accuracy"
    )
    told = found.verdicts["accuracy"]
    assert told.outcome is Outcome.INCONCLUSIVE
    assert len(found.traces) == 3 or "any number of seeds" in told.because


def test_ten_samples_are_too_few():
    def ten():
        return made(data(), data(10, noise=0.0))

    told = verdict(ten, accuracy=0.95)
    assert told.outcome is Outcome.INCONCLUSIVE
    assert "cannot show 0.95 with 10 samples" in told.because


def test_without_a_threshold_it_measures():
    told = verdict(healthy)
    assert told.outcome is Outcome.PASSED
    assert "held against nothing" in told.because
    assert [m.bound for m in told.measures] == [None]


def test_steps_that_the_command_line_took_away_are_no_ground_to_judge():
    policy = merge([{"steps": 100, "accuracy": 0.9, "device": "cpu"}], {"steps": 5})
    examination = Examination(Subject("it", policy, ("accuracy",)))
    told = examination.judge("accuracy", healthy)
    assert told.outcome is Outcome.NOT_APPLICABLE
    assert "--dlcheck-steps" in told.because
    assert not examination.traces


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        (lambda: healthy(val_data=None), "gives no val_data="),
        (lambda: healthy(val_data=[]), "val_data is empty"),
        (lambda: healthy(val_data=TensorDataset(torch.zeros(0, 3))), "val_data is empty"),
        (lambda: healthy(val_data=iter([])), "val_data is empty"),
        (lambda: healthy(metrics={"accuracy": lambda *_: 97.0}), "it is 97, no share"),
        (lambda: healthy(metrics={"f1": nn.Linear}), "is the class Linear"),
    ],
)
def test_what_cannot_be_measured_is_an_error_where_it_was_asked_for(factory, words):
    told = verdict(factory, accuracy=0.9)
    assert told.outcome is Outcome.ERRORED
    assert words in told.because


def test_no_classification_has_no_accuracy():
    def regression():
        x = torch.randn(40, 3)
        return made(TensorDataset(x, x), TensorDataset(x, x), loss=nn.MSELoss())

    assert verdict(regression, accuracy=0.9).outcome is Outcome.ERRORED
    assert verdict(regression).outcome is Outcome.NOT_APPLICABLE


def test_folds_are_validated_one_after_another_and_judged_together():
    found = examined(folded, accuracy=0.8, folds=5)
    told = found.verdicts["accuracy"]
    assert told.outcome is Outcome.PASSED, told
    assert [trial.fold for trial in found.traces][:5] == [0, 1, 2, 3, 4]
    assert "1,200 samples" in told.because
    orders = {trace.row("accuracy").text("order") for trace in list(found.traces.values())[:5]}
    assert len(orders) == 5


def test_folds_of_a_recipe_that_does_not_cut_its_data_are_refused():
    told = verdict(unfolded, accuracy=0.8, folds=3)
    assert told.outcome is Outcome.ERRORED
    assert "dlcheck_split" in told.because


def other_commit(**changes):
    """Runs the other commit's trainings here, with a recipe that differs."""

    def alone(planned, timeout, progress):
        del timeout, progress
        from pytest_dlcheck.run.trial_runner import Request, run_trial

        trial = replace(planned.trial, revision="")
        trace = run_trial(lambda: healthy(**changes), Request(trial, planned.wanted))
        return replace(trace, trial=planned.trial)

    return alone


def test_the_same_code_at_another_commit_is_found_the_same_at_once():
    found = examined(healthy, alone=other_commit(), against="3f2a1c", accuracy=True)
    assert found.verdicts["accuracy"].outcome is Outcome.PASSED
    assert "bit for bit" in found.verdicts["accuracy"].because
    assert len(found.traces) == 2


def test_a_loss_against_another_commit_is_found():
    def worse():
        return healthy(loss=lambda o, t: nn.functional.cross_entropy(o, t // 2))

    found = examined(worse, alone=other_commit(), against="3f2a1c", accuracy=True)
    told = found.verdicts["accuracy"]
    assert told.outcome is Outcome.FAILED, told
    assert "3f2a1c" in told.because
    seeds = [(trial.seed, trial.revision) for trial in found.traces]
    assert seeds[:2] == [(0, ""), (0, "3f2a1c")]


def test_a_commit_that_cannot_be_run_leaves_the_threshold_standing():
    def broken(planned, timeout, progress):
        return Trace(planned.trial, unobserved=dict.fromkeys(planned.wanted, "main could not be run"))

    told = verdict(healthy, alone=broken, against="main", accuracy=0.8)
    assert told.outcome is Outcome.INCONCLUSIVE
    assert "main could not be run" in told.because
    told = verdict(healthy, alone=broken, against="main", accuracy=0.99, steps=2)
    assert told.outcome is Outcome.FAILED


def test_earlier_runs_are_held_against():
    runs = {"accuracy": tuple(Past(str(i), float(i), 0.97 + 0.001 * (i % 3)) for i in range(6))}
    told = verdict(healthy, accuracy=True, steps=2, baseline=Baseline("main", runs))
    assert told.outcome is Outcome.FAILED
    assert "6 runs of main" in told.because


def test_a_past_that_cannot_be_held_against_is_told_and_no_obstacle():
    told = verdict(healthy, accuracy=0.8, baseline=Baseline("main", notice="it ran on another machine"))
    assert told.outcome is Outcome.PASSED
    assert "not held against main: it ran on another machine" in told.because


def test_stored_traces_are_judged_the_same_again():
    found = examined(healthy, accuracy=0.8)
    (again,) = judge_again("it", found.asked(), found.traces.values(), registry())
    assert again.verdict == found.verdicts["accuracy"]
