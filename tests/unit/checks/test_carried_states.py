"""What eval_is_deterministic says of a state that a model keeps from one batch to the next."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
)

from pytest_dlcheck.policy import Policy
from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.session import Examination, Subject
from pytest_dlcheck.verdict import Outcome

N, STEPS, WIDTH = 80, 9, 6


class Recurrent(nn.Module):
    """Begins with the state that it keeps, if it fits."""

    def __init__(self, kind=nn.GRU, begins_anew=lambda model: False):
        super().__init__()
        self.rnn, self.head = kind(1, WIDTH, batch_first=True), nn.Linear(WIDTH, 1)
        self.begins_anew = begins_anew
        self.hidden = None

    def forward(self, x):
        fits = self.hidden is not None and _first(self.hidden).size(1) == len(x)
        given = self.hidden if fits and not self.begins_anew(self) else None
        out, state = self.rnn(x, given)
        self.hidden = tuple(t.detach() for t in state) if isinstance(state, tuple) else state.detach()
        return self.head(out[:, -1])


class Private(Recurrent):
    """Keeps it under another name."""

    def __init__(self):
        super().__init__()
        self._kept = None

    def forward(self, x):
        self.hidden = self._kept
        out = super().forward(x)
        self._kept = self.hidden
        self.hidden = None
        return out


class Level(nn.Module):
    """Keeps the mean of all that it saw, whoever it was."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(STEPS, 1)
        self.level = torch.zeros(())

    def forward(self, x):
        self.level = 0.9 * self.level + 0.1 * x.mean()
        return self.head(x.flatten(1) - self.level)


class Accounts(nn.Module):
    """Keeps something for each number that a sample has, at whatever place it comes."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(STEPS + 1, 1)
        self.known = torch.zeros(N)

    def forward(self, x):
        number = (x[:, 0, 0] * N).round().long()
        known = self.known[number]
        self.known = self.known.index_put((number,), known + x[:, 1, 0])
        return self.head(torch.cat([x.flatten(1), known[:, None]], 1))


class Counting(nn.Module):
    """Keeps what changes no output."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(STEPS, 1)
        self.hidden = None

    def forward(self, x):
        self.hidden = x.detach()
        return self.head(x.flatten(1))


def _first(state):
    return state[0] if isinstance(state, tuple) else state


def series():
    torch.manual_seed(0)
    inputs = torch.rand(N, STEPS, 1)
    inputs[:, 0, 0] = torch.arange(N) / N
    return TensorDataset(inputs, inputs.mean(1))


def verdict_on(model, data=None, **facts):
    def recipe():
        made = model()
        return Recipe(
            model=made,
            train_data=data or DataLoader(series(), 16, shuffle=True),
            loss=None if "training_step" in facts else nn.MSELoss(),
            optimizer=torch.optim.SGD(made.parameters(), 0.1),
            **facts,
        )

    subject = Subject("recipe", Policy(steps=20, device="cpu"), ("eval_is_deterministic",))
    return Examination(subject).judge("eval_is_deterministic", recipe)


def is_told(verdict):
    return verdict.outcome is Outcome.FAILED and "carried into the next batch" in verdict.cause


@pytest.mark.parametrize("model", [Recurrent, lambda: Recurrent(nn.LSTM), Private])
def test_a_state_of_the_batch_before_fails_where_batches_are_drawn(model):
    assert is_told(verdict_on(model))


@pytest.mark.parametrize("sampler", [SubsetRandomSampler(range(N)), RandomSampler(range(N))])
def test_any_random_sampler_will_do(sampler):
    assert is_told(verdict_on(Recurrent, DataLoader(series(), 16, sampler=sampler)))


IN_ORDER = {
    "not shuffled": lambda: DataLoader(series(), 16),
    "batches of its own": lambda: DataLoader(
        series(), batch_sampler=BatchSampler(SequentialSampler(range(N)), 16, drop_last=False)
    ),
    "batches that follow each other": lambda: [series()[i : i + 16] for i in range(0, N, 16)],
}


@pytest.mark.parametrize("name", IN_ORDER)
def test_a_state_along_an_order_is_advice(name):
    verdict = verdict_on(Recurrent, IN_ORDER[name]())
    assert verdict.outcome is Outcome.PASSED
    assert "carries hidden" in verdict.advice[0]


@pytest.mark.parametrize("model", [Level, Accounts])
def test_a_state_of_nobody_or_of_a_number_is_advice(model):
    verdict = verdict_on(model)
    assert verdict.outcome is Outcome.PASSED
    assert verdict.advice


def test_a_state_that_is_kept_for_predictions_alone_is_advice():
    verdict = verdict_on(lambda: Recurrent(begins_anew=lambda model: model.training))
    assert verdict.outcome is Outcome.PASSED
    assert verdict.advice


def test_a_state_that_the_training_step_begins_anew_is_advice():
    def training_step(model, batch):
        model.hidden = None
        return (model(batch[0]) - batch[1]).square().mean()

    assert verdict_on(Recurrent, training_step=training_step).outcome is Outcome.PASSED


def test_a_state_that_the_loss_begins_anew_is_advice():
    def recipe():
        model = Recurrent()

        def loss(outputs, targets):
            model.hidden = None
            return (outputs - targets).square().mean()

        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        data = DataLoader(series(), 16, shuffle=True)
        return Recipe(model=model, train_data=data, loss=loss, optimizer=optimizer)

    subject = Subject("recipe", Policy(steps=20, device="cpu"), ("eval_is_deterministic",))
    verdict = Examination(subject).judge("eval_is_deterministic", recipe)
    assert verdict.outcome is Outcome.PASSED
    assert "carries hidden" in verdict.advice[0]


@pytest.mark.parametrize("model", [Counting, lambda: Recurrent(begins_anew=lambda model: True)])
def test_what_changes_no_output_is_silent(model):
    verdict = verdict_on(model)
    assert verdict.outcome is Outcome.PASSED
    assert verdict.advice == ()
