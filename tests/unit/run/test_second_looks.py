"""The trials that look again: the same training, blind, or without a part of its data."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pytest_dlcheck import Recipe
from pytest_dlcheck.run.trial_runner import Request, run_trial
from pytest_dlcheck.trial import Terms, Trial

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(160, 6, generator=GENERATOR)
Y = (X @ torch.randn(6, 3, generator=GENERATOR)).argmax(1)
TERMS = Terms(steps=30)
WANTED = frozenset({"loss", "pairing", "pairing_gain", "crossed_loss", "stream_accuracy", "validation"})


def factory(batches=10, size=16, **parts):
    def build():
        model = nn.Sequential(nn.Linear(6, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 3))
        data = list(zip(X.split(size)[:batches], Y.split(size)[:batches], strict=True))
        given = {"loss": nn.CrossEntropyLoss(), "train_data": data, **parts}
        return Recipe(model=model, optimizer=torch.optim.Adam(model.parameters(), 0.01), **given)

    return build


def run(trial, **parts):
    return run_trial(factory(**parts), Request(trial, WANTED))


def test_blind_is_the_first_epoch_from_the_same_start():
    train, blind = run(TERMS.train()[0]), run(TERMS.blind()[0])
    assert len(blind.series("loss")) == 10
    late = slice(5, 10)
    assert sum(blind.series("loss").values[late]) > sum(train.series("loss").values[late])
    again = run(TERMS.blind()[0])
    assert again.series("loss") == blind.series("loss")


def test_blind_says_why_it_does_not_apply():
    def step(model, batch):
        return model(batch[0]).square().mean()

    ending = run(TERMS.blind()[0], train_data=[(X, Y, Y)] * 3, loss=None, training_step=step).ending
    assert ending.kind == "not_applicable"
    assert "cannot be told apart" in ending.message


def test_held_out_batches_are_never_trained_on():
    trace = run(TERMS.holdout()[0])
    unseen, seen = trace.rows("holdout")
    assert (unseen["data"], seen["data"]) == ("unseen", "seen")
    assert unseen.integer("samples") == seen.integer("samples") == 64
    assert unseen.number("gain") > 3 * unseen.number("gain_error")
    assert trace.row("relation").number("surprise") > 5
    assert trace.row("relation").number("structure") < 2


def test_large_inputs_are_standardised_by_feature_and_small_ones_left():
    def step(model, batch):
        seen.append(batch[0])
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    seen = []
    scale = torch.tensor([1.0, 10, 100, 1000, 1, 1])
    data = list(zip((X * scale + 50).split(16), Y.split(16), strict=True))
    assert run(TERMS.standardised()[0], train_data=data, loss=None, training_step=step).ending.kind
    epoch = torch.cat(seen[-10:])
    assert torch.allclose(epoch.mean(0), torch.zeros(6), atol=0.3)
    assert torch.allclose(epoch.std(0), torch.ones(6), atol=0.2)
    ending = run(TERMS.standardised()[0]).ending
    assert ending.kind == "not_applicable"
    assert "no input is so large" in ending.message


def test_one_batch_leaves_nothing_to_hold_out():
    ending = run(TERMS.holdout()[0], batches=1).ending
    assert ending.kind == "not_applicable"


def test_gains_are_taken_in_the_first_epoch_and_at_the_end():
    trace = run(TERMS.train()[0])
    row, gains = trace.row("pairing"), trace.series("pairing_gain")
    assert row.integer("fresh_steps") == 10
    assert [step for step in gains.steps if step >= 10] == list(range(22, 30))
    assert gains.steps == trace.series("crossed_loss").steps
    assert gains[-1] > 0.5


@pytest.mark.parametrize("parts", [{}, {"accumulate": 2}, {"precision": "bf16-mixed"}], ids=str)
def test_looking_changes_nothing(parts):
    with_looks = run(Trial("train", 12), **parts, val_data=(X[:50], Y[:50]))
    without = run_trial(factory(**parts), Request(Trial("train", 12), frozenset({"loss"})))
    assert with_looks.series("loss") == without.series("loss")
    assert not with_looks.unobserved


def test_validation_leaves_the_running_statistics_alone():
    kept = []

    def build():
        kept.append(factory(val_data=(X[:50], Y[:50]))())
        return kept[-1]

    trace = run_trial(build, Request(Trial("train", 12), WANTED))
    plain = []
    run_trial(
        lambda: plain.append(factory()()) or plain[-1], Request(Trial("train", 12), frozenset({"loss"}))
    )
    assert {row["data"] for row in trace.rows("validation")} == {"val", "train"}
    for one, other in zip(kept[0].model.buffers(), plain[0].model.buffers(), strict=True):
        assert torch.equal(one, other)
    assert kept[0].model[1].momentum == 0.1
    assert kept[0].model.training
