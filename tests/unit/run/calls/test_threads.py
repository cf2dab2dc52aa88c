"""Tensors are followed through a call: weights and activations are told, in order, with their names."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck.run.calls.threads import Listener, Thread, followed, is_compiled


class Notes(Listener):
    """Writes down what it is told."""

    def __init__(self):
        self.weights, self.acts, self.ends, self.norms = [], [], [], []

    def weighed(self, weighing):
        self.weights.append((weighing.site, weighing.thread.chain))

    def activated(self, activation):
        self.acts.append((activation.site, activation.name, activation.thread.feeder))

    def normalised(self, site, direct, scale, shift):
        self.norms.append((site, direct))

    def returned(self, threads):
        self.ends = [thread for _, thread in threads]


def notes_on(model, *inputs):
    notes = Notes()
    with followed(model, notes):
        model(*inputs)
    return notes


def test_weights_and_activations_are_told_in_order():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2), nn.Softmax(1))
    notes = notes_on(model, torch.randn(3, 4))

    assert notes.weights == [("0", ()), ("2", ("0",))]
    assert notes.acts == [("1", "relu", "0"), ("3", "softmax", "2")]
    (end,) = notes.ends
    assert end.chain == ("0", "2")
    assert end.before.shape == (3, 2)


@pytest.mark.parametrize(
    "act", [F.relu, torch.relu, torch.relu_, lambda x: x.clamp(min=0), lambda x: F.relu(x, inplace=True)]
)
def test_every_way_to_write_a_relu_is_seen(act):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)

        def forward(self, x):
            return act(self.norm(self.body(x)))

    notes = notes_on(Model(), torch.randn(2, 1, 5, 5))

    assert [(site, feeder) for site, _, feeder in notes.acts] == [("model", "norm")]
    assert notes.norms == [("norm", "body")]


def test_a_clamp_elsewhere_is_no_activation():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(4, 4)

        def forward(self, x):
            return self.body(x).clamp(min=1e-6).clamp(-1, 1)

    assert notes_on(Model(), torch.randn(2, 4)).acts == []


def test_units_stay_those_of_their_weights_through_sums_but_not_beside_foreign_tensors():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x, targets):
            h = self.one(x)
            return (h + self.two(h)).relu(), (1 - targets * h).relu()

    notes = notes_on(Model(), torch.randn(2, 4), torch.randn(2, 4))

    assert [feeder for *_, feeder in notes.acts] == ["one"]


def test_weights_of_ones_own_go_by_their_own_name():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Parameter(torch.randn(4, 8)), nn.Parameter(torch.randn(2, 8))

        def forward(self, x):
            return (x @ self.one).relu() @ self.two.T

    assert [site for site, _ in notes_on(Model(), torch.randn(3, 4)).weights] == ["one", "two"]


def test_a_recurrence_is_told():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.step = nn.Linear(4, 4)

        def forward(self, x):
            return self.step(self.step(x).tanh())

    (end,) = notes_on(Model(), torch.randn(2, 4)).ends

    assert end.repeats
    assert end.chain == ("step",)


def test_outside_of_modules_nothing_is_an_activation():
    model, notes = nn.Linear(4, 4), Notes()
    with followed(model, notes):
        model(torch.randn(2, 4)).relu()

    assert notes.acts == []


def test_no_hook_is_left_behind():
    model, notes = nn.Sequential(nn.Linear(4, 4)), Notes()
    with pytest.raises(RuntimeError), followed(model, notes):
        model(torch.randn(2, 3))
    model(torch.randn(2, 4))

    assert notes.ends == notes.weights == []


def test_a_tensor_nobody_has_seen_has_no_thread():
    with followed(nn.Linear(2, 2), Notes()) as threads:
        assert threads.thread(torch.ones(2)) == Thread()


def test_compiled_models_are_told_from_others():
    assert not is_compiled(nn.Linear(2, 2))
    assert is_compiled(torch.compile(nn.Linear(2, 2), backend="eager"))
