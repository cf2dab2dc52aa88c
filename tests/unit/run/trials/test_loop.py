"""The short training loop: it steps as the user's own would, in each of its forms."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pytest_dlcheck import Recipe
from pytest_dlcheck.run.trial_runner import Request, run_trial
from pytest_dlcheck.trial import Trial

X = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()
BATCHES = list(zip(X.split(16), Y.split(16), strict=True))
WANTED = frozenset({"loss", "learning_rate", "seconds"})
CE = nn.CrossEntropyLoss()


def train(steps=8, seed=0, **parts):
    """The trace and the trained model."""
    kept = []

    def factory():
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
        made = {name: part(model) if name == "optimizer" else part for name, part in parts.items()}
        made.setdefault("optimizer", torch.optim.SGD(model.parameters(), 0.5))
        if schedule := made.pop("schedule", None):
            made["scheduler"] = schedule(made["optimizer"])
        kept.append(model)
        made.setdefault("train_data", BATCHES)
        return Recipe(model=model, loss=CE, **made)

    trace = run_trial(factory, Request(Trial("train", steps, seed), WANTED))
    return trace, kept[0]


def rates_of(trace):
    return list(trace.series("learning_rate"))


def by_hand(steps, update):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        losses.append(update(model, step))
        optimizer.step()
    return losses, model


def assert_same(one, other):
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_a_plain_step_is_the_step_that_one_writes_by_hand():
    def update(model, step):
        x, y = BATCHES[step % 4]
        loss = CE(model(x), y)
        loss.backward()
        return loss.item()

    with torch.random.fork_rng():
        losses, expected = by_hand(8, update)
    trace, model = train()
    assert trace.ending.kind == "completed"
    assert list(trace.series("loss")) == pytest.approx(losses)
    assert_same(model, expected)


def test_accumulating_is_the_mean_over_micro_batches():
    def update(model, step):
        total = 0.0
        for i in range(2):
            x, y = BATCHES[(2 * step + i) % 4]
            loss = CE(model(x), y) / 2
            loss.backward()
            total += loss.item()
        return total

    with torch.random.fork_rng():
        losses, expected = by_hand(4, update)
    trace, model = train(4, accumulate=2)
    assert list(trace.series("loss")) == pytest.approx(losses)
    assert_same(model, expected)


def test_clipping_is_torchs_own():
    def update(model, step):
        x, y = BATCHES[step % 4]
        loss = CE(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.01)
        return loss.item()

    with torch.random.fork_rng():
        _, expected = by_hand(5, update)
    assert_same(train(5, max_grad_norm=0.01)[1], expected)


@pytest.mark.parametrize(
    ("interval", "rates"), [("step", [0.5, 0.25, 0.125]), ("epoch", [0.5, 0.5, 0.5, 0.5, 0.25])]
)
def test_schedulers_step_when_they_should(interval, rates):
    def schedule(optimizer):
        return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)

    trace, _ = train(5, schedule=schedule, scheduler_interval=interval)
    assert rates_of(trace)[: len(rates)] == pytest.approx(rates)


def test_a_plateau_scheduler_is_given_the_loss():
    def schedule(optimizer):
        return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=100.0)

    trace, _ = train(4, schedule=schedule)
    rates = rates_of(trace)
    assert rates[-1] < rates[0]


def test_closures_are_evaluated_as_often_as_the_optimizer_wants():
    trace, _ = train(3, optimizer=lambda m: torch.optim.LBFGS(m.parameters(), max_iter=4))
    assert trace.ending.kind == "completed"
    assert len(trace.series("loss")) == 3
    assert trace.series("loss")[-1] < trace.series("loss")[0]


def test_several_optimizers_step_on_one_loss():
    def optimizers(model):
        return [torch.optim.SGD(model[0].parameters(), 0.5), torch.optim.SGD(model[2].parameters(), 0.5)]

    assert_same(train(optimizer=optimizers)[1], train()[1])


def test_steps_that_the_scaler_skips_are_no_divergence():
    trace, _ = train(4, precision="fp16-mixed")
    assert trace.ending.kind == "completed"
    assert trace.row("steps").integer("asked") == 4


def test_a_loss_that_is_not_finite_ends_the_training_where_it_happened():
    batches = [*BATCHES[:3], (BATCHES[3][0] * float("nan"), BATCHES[3][1])]
    trace, _ = train(40, train_data=batches)
    assert (trace.ending.kind, trace.ending.step) == ("diverged", 3)
    assert "the loss became nan" in trace.ending.message


def test_a_one_shot_iterator_ends_the_training_and_says_so():
    trace, _ = train(9, train_data=iter(BATCHES))
    assert trace.ending.kind == "completed"
    assert "one-shot iterator of 4 steps" in trace.ending.message
    assert len(trace.series("loss")) == 4


def test_a_stop_iteration_of_the_users_own_is_an_error():
    batches = iter(BATCHES[:2])
    trace, _ = train(4, forward=lambda m, b: m(next(batches)[0]))
    assert trace.ending.kind == "raised"
    assert "StopIteration" in trace.ending.message
    assert trace.ending.step == 2


def test_another_seed_is_another_training():
    assert list(train(seed=0)[0].series("loss")) != list(train(seed=1)[0].series("loss"))
