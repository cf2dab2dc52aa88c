"""Loops whose numbers break: what was seen before counts, what is broken tells nothing."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from pytest_dlcheck import watch
from pytest_dlcheck.verdict import Outcome


def watched(compare, *, breaks_at, steps=20):
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    x, y = torch.randn(16, 6), torch.randint(3, (16,))
    with watch() as run:
        for step in range(steps):
            optimizer.zero_grad()
            loss = compare(model(x), y)
            (loss * math.nan if step == breaks_at else loss).backward()
            optimizer.step()
    return run


def verdict_of(run, check):
    return next(verdict for verdict in run.verdicts if verdict.check == check)


def test_what_a_loss_is_given_is_known_from_before_it_broke():
    run = watched(F.nll_loss, breaks_at=6)

    (row,) = run.trace.rows("loss_soundness")
    assert math.isfinite(row["log_rows_off"])
    assert verdict_of(run, "loss_is_sound").failed


def test_too_few_losses_before_it_broke_tell_nothing():
    run = watched(F.nll_loss, breaks_at=1)

    assert verdict_of(run, "loss_is_sound").outcome is not Outcome.FAILED


def test_a_sound_loss_does_not_pass_where_it_broke():
    run = watched(F.cross_entropy, breaks_at=6)

    assert run.trace.ending.kind == "diverged"
    assert verdict_of(run, "loss_is_sound").outcome is Outcome.INCONCLUSIVE
    assert verdict_of(run, "optimizer_covers_model").outcome is Outcome.INCONCLUSIVE


def test_a_missing_floor_follows_from_what_the_loss_is_given():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    x, y = torch.randn(32, 6), torch.randint(3, (32,))
    with watch() as run:
        for _ in range(60):
            optimizer.zero_grad()
            F.nll_loss(model(x), y).backward()
            optimizer.step()

    floor = next(f for f in run.findings if f.verdict.check == "loss_has_a_floor")
    assert floor.verdict.failed
    assert floor.because_of == "loss_is_sound"


class Spoilt(nn.Module):
    """What it gives has the root of zero added: NaN in the backward alone."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x):
        hidden = self.first(x)
        return self.second(hidden + torch.sqrt(hidden * 0))


def stability(model, *, poisoned_at=None, lost_at=None, steps=20):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with watch() as run:
        for step in range(steps):
            x, y = torch.randn(16, 6), torch.randint(3, (16,))
            if step == poisoned_at:
                x[3, 2] = math.nan
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            (loss * math.nan if step == lost_at else loss).backward()
            optimizer.step()
    verdict = verdict_of(run, "training_is_stable")
    assert verdict.failed
    return verdict


def linear():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def test_a_loss_that_is_broken_before_any_step_is_no_matter_of_the_learning_rate():
    verdict = stability(linear(), lost_at=0)

    assert verdict.sites == ("loss",)
    assert "no step was made before" in verdict.cause
    assert "learning rate" not in verdict.remedy
    assert "second look" not in str(verdict.suspects)


def test_a_loss_that_breaks_later_is_told_by_its_step():
    verdict = stability(linear(), lost_at=7)

    assert verdict.sites == ("loss",)
    assert "at step 7" in verdict.because
    assert "finite until step 7" in verdict.suspects[0].finding


def test_data_that_are_not_finite_are_named():
    verdict = stability(linear(), poisoned_at=2)

    assert verdict.sites == ("data",)
    assert "numbers that are not finite" in verdict.cause


def test_a_gradient_that_breaks_under_a_finite_loss_is_named():
    verdict = stability(Spoilt())

    assert set(verdict.sites) == {"first.weight", "first.bias"}
    assert "a derivative is not finite" in verdict.cause
