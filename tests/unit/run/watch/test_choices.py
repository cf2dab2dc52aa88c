"""What is chosen among a single output is heard whatever it is called by, and nothing else is."""

import threading

import pytest
import torch
from torch import argmax, nn
from torch.nn import functional as F

from pytest_dlcheck import watch
from pytest_dlcheck.verdict import Outcome

X, Y = torch.randn(96, 6), torch.rand(96)


def verdict_of(model, score, loss=lambda out: F.mse_loss(out.reshape(len(out), -1)[:, 0], Y)):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with watch() as run:
        for _ in range(5):
            model.train()
            optimizer.zero_grad()
            loss(model(X)).backward()
            optimizer.step()
            model.eval()
            score(model)
    return next(v for v in run.verdicts if v.check == "validated_model_is_trained")


def without_gradients(score):
    def scores(model):
        with torch.no_grad():
            score(model)

    return scores


HEARD = pytest.mark.skipif(
    not hasattr(torch.library, "get_kernel"), reason="this torch does not hand out its kernels"
)


@HEARD
@pytest.mark.parametrize(
    "score",
    [
        without_gradients(lambda model: argmax(model(X), dim=-1)),
        without_gradients(lambda model: torch.max(model(X), 1)),
        without_gradients(lambda model: model(X).sigmoid().argmax(1, keepdim=True)),
        without_gradients(lambda model: torch.cat([model(part) for part in X.split(32)]).argmax(1)),
        lambda model: model(X).detach().argmax(dim=1),
    ],
    ids=["imported", "max", "sigmoid", "all batches at once", "gradients on"],
)
def test_a_class_chosen_among_one_fails(score):
    verdict = verdict_of(nn.Linear(6, 1), score)
    assert verdict.outcome is Outcome.FAILED
    assert "argmax over one output" in verdict.because
    assert "test_choices.py" in verdict.because


class Tower(nn.Module):
    """Gives a score and features, or a score for each of some candidates."""

    def __init__(self, *, features):
        super().__init__()
        self.linear, self.features = nn.Linear(6, 1), features

    def forward(self, x):
        scores = self.linear(x).squeeze(-1)
        return (scores[:, None], x) if self.features else scores


@HEARD
def test_one_of_several_outputs_is_advice():
    score = without_gradients(lambda model: model(X)[0].argmax(1))
    verdict = verdict_of(Tower(features=True), score, lambda out: F.mse_loss(out[0][:, 0], Y))
    assert verdict.outcome is Outcome.PASSED
    assert "unless that number varies" in verdict.advice[0]


def with_candidates(model):
    for count in (1, 3, 1):
        model(X.unsqueeze(1).repeat(1, count, 1)).argmax(1)


@pytest.mark.parametrize(
    ("model", "score"),
    [
        (nn.Linear(6, 1), lambda model: model(X).argmax()),
        (nn.Linear(6, 1), lambda model: model(X).argmax(0)),
        (nn.Linear(6, 1), lambda model: [model(row[None]).argmax(1) for row in X[:20]]),
        (nn.Linear(6, 3), lambda model: model(X).argmax(1)),
        (nn.Linear(6, 3), lambda model: model(X).max(1, keepdim=True)[0].argmax(1)),
        (nn.Linear(6, 1), lambda model: torch.cat([model(X) for _ in range(1)], 1).max(1)),
        (Tower(features=False), with_candidates),
    ],
    ids=["best", "of a column", "batches of one", "classes", "beam", "ensemble of one", "candidates"],
)
def test_what_may_be_meant_does_not(model, score):
    verdict = verdict_of(model, without_gradients(score), lambda out: out.square().mean())
    assert verdict.outcome is Outcome.NOT_APPLICABLE


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")
def test_scripted_code_can_be_made_and_runs_while_it_is_heard():
    with watch():
        scripted = torch.jit.script(choose)
        assert scripted(torch.eye(3)).tolist() == [0, 1, 2]


def choose(scores: torch.Tensor) -> torch.Tensor:
    return torch.argmax(scores, 1)


def test_watches_may_end_in_another_order_than_they_began():
    began, ended, chosen = threading.Event(), threading.Event(), []

    def first():
        with watch():
            began.set()
            ended.wait(10)

    thread = threading.Thread(target=first)
    thread.start()
    began.wait(10)
    with watch():
        ended.set()
        thread.join()
        chosen.append(torch.eye(3).argmax(1).tolist())
    chosen.append(torch.eye(3).argmax(1).tolist())
    assert chosen == [[0, 1, 2]] * 2
