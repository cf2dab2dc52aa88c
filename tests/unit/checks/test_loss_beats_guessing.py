"""One short epoch beats guessing where that is sure, and not where it learned nothing."""

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

from pytest_dlcheck import watch
from pytest_dlcheck.verdict import Outcome


def verdict_on(rate, steps, labels=None):
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
    y = y if labels is None else labels(y)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    with watch() as run:
        for i in torch.randperm(len(x))[: 64 * steps].split(64):
            optimizer.zero_grad()
            F.cross_entropy(model(x[i]), y[i]).backward()
            optimizer.step()
    return next(v for v in run.verdicts if v.check == "loss_beats_guessing")


@pytest.mark.parametrize("steps", [13, 28])
def test_a_short_epoch_that_learns_passes(steps):
    verdict = verdict_on(0.01, steps)
    assert verdict.outcome is Outcome.PASSED, verdict.because


@pytest.mark.parametrize(
    ("rate", "labels"),
    [
        pytest.param(1e-5, None, id="too slow"),
        pytest.param(0.01, lambda y: y[torch.randperm(len(y))], id="labels of others"),
        pytest.param(0.01, lambda y: (torch.rand(len(y)) < 0.01).long(), id="rare labels"),
    ],
)
def test_a_short_epoch_that_learned_nothing_is_not_told(rate, labels):
    verdict = verdict_on(rate, 28, labels)
    assert verdict.outcome is Outcome.INCONCLUSIVE, verdict.because
    assert "fewer than 32 steps do not tell" in verdict.because
