"""Totals that a loop puts together, and propagates a term of."""

import torch
import torch.nn.functional as F
from torch import nn

from pytest_dlcheck import watch

ROWS = torch.randn(320, 10, generator=torch.Generator().manual_seed(4))


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.kind, self.place = nn.Linear(10, 16), nn.Linear(16, 3), nn.Linear(16, 2)

    def forward(self, x):
        seen = self.body(x).relu()
        return self.kind(seen), self.place(seen)


def losses(model, until=320):
    for start in range(0, until, 16):
        x = ROWS[start : start + 16]
        kind, place = model(x)
        yield F.cross_entropy(kind, x[:, :3].argmax(1)), F.mse_loss(place, x[:, 3:5])


def watched(step):
    model = TwoHeads()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with watch() as run:
        step(model, optimizer)
    return run


def a_term_alone(model, optimizer):
    for of_kind, of_place in losses(model):
        total = of_kind + 2 * of_place
        optimizer.zero_grad()
        of_kind.backward()
        optimizer.step()
    assert total.isfinite()


def all_of_it(model, optimizer):
    for of_kind, of_place in losses(model):
        total = of_kind + 2 * of_place
        optimizer.zero_grad()
        total.backward()
        optimizer.step()


def one_after_the_other(model, optimizer):
    for of_kind, of_place in losses(model):
        total = of_kind + of_place
        optimizer.zero_grad()
        of_kind.backward(retain_graph=True)
        of_place.backward()
        optimizer.step()
    assert total.isfinite()


def a_head_without_a_loss(model, optimizer):
    for loss, _ in losses(model):
        seen = loss.detach() + 1
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert seen.isfinite()


def a_sum_for_the_log(model, optimizer):
    for loss, _ in losses(model):
        logged = loss + 1e-3 * model.body.weight.pow(2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert logged.isfinite()


def a_running_sum(model, optimizer):
    total = torch.zeros(())
    for loss, _ in losses(model, until=160):
        total = total + loss
        optimizer.zero_grad()
        loss.backward(retain_graph=True)
        optimizer.step()


def test_a_term_that_is_propagated_alone_is_the_cause():
    (first, *_) = watched(a_term_alone).failures
    assert first.verdict.check == "gradients_flow"
    assert "`of_kind`, which is but a term of `total`" in first.verdict.cause
    assert [s.site for s in first.verdict.suspects] == ["place"]


def test_others_are_none():
    for step in (
        all_of_it,
        one_after_the_other,
        a_head_without_a_loss,
        a_sum_for_the_log,
        a_running_sum,
    ):
        run = watched(step)
        assert not run.failures, step
        assert not run.trace.row("loop")["left_out"], step


def one_of_two_views(model, optimizer):
    for start in range(0, 320, 16):
        x = ROWS[start : start + 16]
        seen = model.body(x).relu()
        loss = model.kind(seen).square().mean() + model.place(seen).square().mean()
        joint_loss = loss + 0.1 * seen.mean()
        optimizer.zero_grad()
        (loss / 4).backward()
        optimizer.step()
    assert joint_loss.isfinite()


def test_a_term_alone_is_told_where_all_parameters_are_reached():
    run = watched(one_of_two_views)
    row = run.trace.row("loop")
    assert (row["one_term"], row["one_term_is_sure"]) == ("`loss` of joint_loss", True)
    (first, *_) = run.failures
    assert first.verdict.check == "gradients_flow"
    assert first.verdict.remedy == "call joint_loss.backward()"


def test_no_other_is_told_as_a_term():
    for step in (all_of_it, one_after_the_other, a_head_without_a_loss, a_running_sum):
        assert not watched(step).trace.row("loop")["one_term"], step
