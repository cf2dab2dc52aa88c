"""Critics of several steps a turn, whose losses leave gradients in what they judge."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .data import diabetes, tumours
from .faults import fault
from .healthy import mlp


def _hinge(judge, real, fake):
    return F.relu(1 - judge(real)).mean() + F.relu(1 + judge(fake)).mean()


def _with_turns(*, detach=True, resets_first=False, judged=3):
    """Makes rows like those of tumours; the generator resets after its step, or before its backward."""
    rows = tumours()[0][:, :6]
    maker, judge = mlp(5, 48, 6), mlp(6, 48, 1)
    of_maker = torch.optim.Adam(maker.parameters(), lr=1e-3, betas=(0.5, 0.9))
    of_judge = torch.optim.Adam(judge.parameters(), lr=1e-3, betas=(0.5, 0.9))
    for _ in range(60):
        for _ in range(judged):
            made = maker(torch.randn(48, 5))
            of_judge.zero_grad()
            real = rows[torch.randint(512, (48,))]
            _hinge(judge, real, made.detach() if detach else made).backward()
            of_judge.step()
        if resets_first:
            of_maker.zero_grad()
        judge(maker(torch.randn(48, 5))).mean().neg().backward()
        of_maker.step()
        if not resets_first:
            of_maker.zero_grad()


def turns_of_three():
    _with_turns()


@fault(turns_of_three, "steps_are_in_order", words=("is not detached",))
def turns_of_three_that_reach_the_maker():
    _with_turns(detach=False)


@fault(turns_of_three, "steps_are_in_order", words=("is not detached",))
def turns_of_one_that_reach_the_maker():
    _with_turns(detach=False, judged=1)


# -- healthy neighbours ---------------------------------------------------------------------------


def turns_of_three_that_are_reset():
    """Wasteful, and harmless: the generator forgets what the critic left."""
    _with_turns(detach=False, resets_first=True)


def head_steps_often_and_body_rarely():
    """One loss; the body's optimizer steps on the gradients of three steps of the head."""
    rows, target = diabetes()
    body, head = mlp(10, 32, 16), nn.Linear(16, 1)
    of_body, of_head = (torch.optim.Adam(m.parameters(), lr=1e-3) for m in (body, head))
    for step in range(240):
        i = torch.randint(442, (24,))
        of_head.zero_grad()
        F.mse_loss(head(body(rows[i]).relu()), target[i]).backward()
        of_head.step()
        if step % 4 == 3:
            of_body.step()
            of_body.zero_grad()


class _Turned(torch.autograd.Function):
    @staticmethod
    def forward(_, x):
        return x.view_as(x)

    @staticmethod
    def backward(_, gradient):
        return -gradient


def sites_are_forgotten_by_turned_gradients():
    """Several looks of a critic of sites, turned round on purpose, and then the task: one step."""
    rows, labels = tumours()
    site = (rows[:, 7] > 0).float()
    body, task, critic = mlp(30, 32, 16), nn.Linear(16, 1), mlp(16, 16, 1)
    own, tasks_own, critics_own = (
        torch.optim.Adam(m.parameters(), lr=1e-3) for m in (body, task, critic)
    )
    for _ in range(60):
        own.zero_grad()
        for _ in range(3):
            i = torch.randint(569, (48,))
            critics_own.zero_grad()
            said = critic(_Turned.apply(body(rows[i]).relu())).squeeze(1)
            (0.1 * F.binary_cross_entropy_with_logits(said, site[i])).backward()
            critics_own.step()
        i = torch.randint(569, (48,))
        said = task(body(rows[i]).relu()).squeeze(1)
        tasks_own.zero_grad()
        F.binary_cross_entropy_with_logits(said, labels[i]).backward()
        tasks_own.step()
        own.step()


def heads_that_want_different_things_step_beside_their_body():
    """A body fitted to both before, so that what one head gains the other loses."""
    rows, target = diabetes()
    body, heads = nn.Linear(10, 8), [nn.Linear(8, 1), nn.Linear(8, 1)]
    targets = [target, rows.abs().sum(1, keepdim=True)]

    def losses():
        return (F.mse_loss(h(body(rows)), t) for h, t in zip(heads, targets, strict=True))

    for head in heads:
        nn.init.constant_(head.weight, 0.5)
    for _ in range(400):
        leads = torch.autograd.grad(sum(losses()), list(body.parameters()))
        with torch.no_grad():
            for p, lead in zip(body.parameters(), leads, strict=True):
                p -= 0.05 * lead
    of_body, *of_heads = (torch.optim.SGD(m.parameters(), lr=1e-3) for m in (body, *heads))
    for _ in range(60):
        for optimizer in (of_body, *of_heads):
            optimizer.zero_grad()
        for loss, of_head in zip(losses(), of_heads, strict=True):
            loss.backward()
            of_head.step()
        of_body.step()


def a_shared_scale_steps_on_what_a_model_and_a_prior_leave():
    """One number has but two directions: near its rest it is pulled both ways."""
    rows, target = diabetes()
    model, scale = mlp(10, 32, 1), nn.Parameter(torch.zeros(()))
    own, scales_own = (torch.optim.Adam(p, lr=1e-2) for p in (model.parameters(), [scale]))
    for _ in range(120):
        i = torch.randint(442, (48,))
        own.zero_grad()
        scales_own.zero_grad()
        error = F.mse_loss(model(rows[i]), target[i])
        (error * torch.exp(-2 * scale) / 2 + scale).backward()
        own.step()
        (0.5 * (scale - 2) ** 2).backward()
        scales_own.step()


QUIET = [
    turns_of_three_that_are_reset,
    heads_that_want_different_things_step_beside_their_body,
    a_shared_scale_steps_on_what_a_model_and_a_prior_leave,
    head_steps_often_and_body_rarely,
    sites_are_forgotten_by_turned_gradients,
]
"""Loops that are meant so."""
