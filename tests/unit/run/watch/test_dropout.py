"""Dropout that runs in eval mode is found, unless it is meant, and hearing it changes nothing."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import _len_torch_function_stack

from pytest_dlcheck import watch
from pytest_dlcheck.verdict import Outcome

X, Y = torch.randn(96, 6), torch.rand(96, 1)


class Net(nn.Module):
    """Drops as it is told, in eval mode too."""

    def __init__(self, drop):
        super().__init__()
        self.linear, self.out, self.drop = nn.Linear(6, 6), nn.Linear(6, 1), drop

    def forward(self, x):
        return self.out(self.drop(self.linear(x), self.training))


def attend(x, training):
    return F.scaled_dot_product_attention(x[None], x[None], x[None], dropout_p=0.2)[0]


def always(x, training):
    return F.dropout(x)


def guarded(x, training):
    return F.dropout(x, training=training)


def at_zero(x, training):
    return F.dropout(x, 0.0)


def validate(model):
    for part in X.split(24):
        model(part)


def average(model):
    return torch.stack([model(X) for _ in range(5)]).mean(0)


def average_at_once(model):
    return model(X.repeat(5, 1)).view(5, -1).mean(0)


def verdict_of(drop, evaluate=validate):
    model = Net(drop)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with watch() as run:
        for _ in range(5):
            model.train()
            optimizer.zero_grad()
            F.mse_loss(model(X), Y).backward()
            optimizer.step()
            model.eval()
            with torch.no_grad():
                evaluate(model)
    return next(v for v in run.verdicts if v.check == "modes_are_right")


@pytest.mark.parametrize("drop", [always, attend])
def test_dropout_that_does_not_know_of_eval_mode_fails_with_its_line(drop):
    verdict = verdict_of(drop)
    assert verdict.outcome is Outcome.FAILED
    assert "dropout stays active" in verdict.cause
    assert "test_dropout.py" in verdict.cause


@pytest.mark.parametrize("drop", [guarded, at_zero])
def test_dropout_that_is_off_does_not(drop):
    assert not verdict_of(drop).failed


@pytest.mark.parametrize("evaluate", [average, average_at_once])
def test_several_answers_to_one_input_are_advice(evaluate):
    verdict = verdict_of(always, evaluate)
    assert not verdict.failed
    assert any("dropout runs in eval mode" in advice for advice in verdict.advice)


def test_what_a_model_raises_comes_through_and_nothing_is_left_behind():
    class Mine(BaseException):
        """Neither an Exception nor an error of torch."""

    def give_up(kind):
        def drop(x, training):
            if not training:
                raise kind
            return x

        return drop

    def evaluate(model):
        with pytest.raises((KeyError, Mine)):
            model(X)

    for kind in (KeyError, Mine):
        verdict_of(give_up(kind), evaluate)
        assert _len_torch_function_stack() == 0


class InAList(nn.Module):
    """Keeps its layers where no module finds them."""

    def __init__(self):
        super().__init__()
        self.layers = [nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.2))]
        self.out = nn.Linear(6, 1)

    def forward(self, x):
        return self.out(self.layers[0](x))


def test_dropout_that_eval_does_not_reach_names_its_layer():
    model = InAList()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with watch() as run:
        for _ in range(5):
            optimizer.zero_grad()
            F.mse_loss(model.train()(X), Y).backward()
            optimizer.step()
            with torch.no_grad():
                validate(model.eval())
    verdict = next(v for v in run.verdicts if v.check == "modes_are_right")
    assert verdict.cause == (
        "Sequential is called within InAList, in none of its modules: eval() does not reach it"
    )
