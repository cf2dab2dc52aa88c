"""A recipe set up for a trial: placed, validated, its batches at hand, nothing disturbed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pytest_dlcheck import Recipe
from pytest_dlcheck.run.errors import CannotTellError
from pytest_dlcheck.run.parts import takes_closure
from pytest_dlcheck.run.rig import Rig

BATCHES = [(torch.full((4, 3), float(i)), torch.full((4,), i)) for i in range(3)]


def rig(model=None, **parts):
    model = model or nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 3))
    parts.setdefault("train_data", BATCHES)
    parts.setdefault("loss", nn.CrossEntropyLoss())
    parts.setdefault("optimizer", torch.optim.SGD(model.parameters(), 0.1))
    found = Rig(Recipe(model=model, **parts), "cpu", 0)
    found.open()
    return found


def numbers(batches):
    return [int(targets[0]) for _, targets in batches]


def test_looking_ahead_takes_nothing_away():
    found = rig()
    assert numbers(found.look_ahead(5)) == [0, 1, 2, 0, 1]
    assert numbers(found.next_batch() for _ in range(7)) == [0, 1, 2, 0, 1, 2, 0]
    assert numbers([found.batch]) == [0]


def test_looking_ahead_of_an_iterator_stops_at_its_end():
    assert numbers(rig(train_data=iter(BATCHES)).look_ahead(9)) == [0, 1, 2]


def test_epochs_end_where_they_end_though_read_ahead():
    found = rig()
    found.look_ahead(3)
    ends = []
    for _ in range(6):
        found.next_batch()
        ends.append(found.epochs_ended)
    assert ends == [0, 0, 1, 1, 1, 2]


def test_samples_are_spread_over_the_batch():
    found = rig(train_data=[(torch.arange(30.0).reshape(10, 3), torch.zeros(10, dtype=torch.long))])
    inputs, targets = found.samples(3)
    assert inputs[:, 0].tolist() == [0.0, 12.0, 27.0]
    assert len(targets) == 3
    assert len(found.samples(99)[0]) == 10


def test_samples_that_do_not_stand_alone_cannot_be_taken():
    found = rig(batch_dim=None)
    assert found.batch_size is None
    with pytest.raises(CannotTellError):
        found.samples(2)


def test_calling_undisturbed_leaves_no_trace():
    found = rig()
    found.model[2].eval()
    found.call()

    def state():
        return (
            [(n, t.tolist()) for n, t in found.model.state_dict().items()],
            [m.training for m in found.model.modules()],
            [p.grad for p in found.model.parameters()],
            torch.get_rng_state().tolist(),
        )

    before = state()
    with found.undisturbed(training=True):
        found.objective.loss(found.batch)[0].backward()
        torch.rand(3)
    assert state() == before


def test_double_precision_is_lent_and_given_back():
    found = rig()
    with found.undisturbed(), found.in_double() as call:
        assert call(found.call.inputs).dtype is torch.float64
    assert {t.dtype for t in found.model.parameters()} == {torch.float32}
    assert found.call().dtype is torch.float32


def test_a_model_that_refuses_double_precision_runs_in_its_own():
    class Stubborn(nn.Linear):
        def forward(self, x):
            return super().forward(x.float())

    found = rig(Stubborn(3, 3))
    with found.undisturbed(), found.in_double() as call:
        assert call(found.call.inputs).dtype is torch.float32
    assert found.model.weight.dtype is torch.float32


def test_parameters_of_the_loss_and_strays_of_the_optimizer_have_names():
    model, stray = nn.Linear(3, 3), nn.Parameter(torch.ones(2))
    found = rig(model, optimizer=torch.optim.SGD([*model.parameters(), stray], 0.1))
    assert list(found.parameters) == ["weight", "bias", "optimizer.param_groups[0].params[2]"]


def test_frozen_patterns_match_names_and_what_is_inside():
    found = rig(frozen=["0", "*.bias"])
    frozen = [name for name in found.parameters if found.is_frozen(name)]
    assert frozen == ["0.weight", "0.bias", "1.bias", "3.bias"]


def test_lazy_modules_are_made_before_anything_is_named():
    model = nn.Sequential(nn.LazyLinear(4), nn.BatchNorm1d(4))
    found = rig(model, optimizer=torch.optim.SGD(model.parameters(), 0.1))
    assert found.parameters["0.weight"].shape == (4, 3)
    assert found.model.training


def test_a_model_left_in_eval_is_set_to_training():
    assert rig(nn.Linear(3, 3).eval()).model.training


def test_a_question_is_asked_once():
    found, asked = rig(), []
    assert [found.once("what", lambda: asked.append(1) or 7) for _ in range(3)] == [7, 7, 7]
    assert asked == [1]


def test_a_question_that_raised_is_asked_anew():
    found, answers = rig(), [0, 1]
    with pytest.raises(ZeroDivisionError):
        found.once("what", lambda: 1 / answers.pop(0))
    assert found.once("what", lambda: 1 / answers.pop(0)) == 1


def test_a_step_is_recorded_once_and_its_call_renewed():
    steps = []

    def step(model, batch):
        steps.append(1)
        return model(batch[0] * 2).sum()

    found = rig(training_step=step, loss=None)
    found.call.inputs["args"][0].zero_()
    found.renew_batch()
    assert torch.equal(found.call.inputs["args"][0], found.batch[0] * 2)
    assert len(steps) == 1


def test_who_needs_a_closure():
    parameters = [nn.Parameter(torch.ones(1))]
    assert takes_closure(torch.optim.LBFGS(parameters))
    assert not takes_closure(torch.optim.Adam(parameters))
