"""Losses that only draw outputs together are told from those that hold something against them."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck import watch
from pytest_dlcheck.run.losses.graphs.between import between, mark
from pytest_dlcheck.verdict import Outcome

WEIGHT = torch.randn(8, 4, requires_grad=True)
FIXED = torch.randn(8, 4)


def seen(loss):
    outputs = [WEIGHT * float(factor) for factor in (2, 3, 5)]
    for place, output in enumerate(outputs):
        mark(output, place)
    return between(loss(*outputs))


def unit(output):
    return F.normalize(output, dim=1)


@pytest.mark.parametrize(
    "loss",
    [
        lambda a, b, c: -F.cosine_similarity(a, b).mean() / 2 - F.cosine_similarity(b, c).mean() / 2,
        lambda a, b, _: (2 - 2 * (unit(a) * unit(b)).sum(1)).mean(),
        lambda a, b, _: F.mse_loss(a, b),
        lambda a, b, _: F.pairwise_distance(a, b).pow(2).mean(),
        lambda a, b, _: 0.5 * (a - b).abs().sum(1).mean(),
        lambda a, *_: F.mse_loss(a[:4], a[4:]),
    ],
)
def test_distances_with_gradients_on_both_sides_attract(loss):
    assert seen(loss).attracts


@pytest.mark.parametrize(
    "loss",
    [
        lambda a, b, _: -F.cosine_similarity(a, b.detach()).mean(),
        lambda a, b, _: (a - b.detach()).square().mean(),
        lambda a, *_: F.mse_loss(a, FIXED),
        lambda a, b, c: F.mse_loss(a, b) + F.mse_loss(c, FIXED),
        lambda a, b, _: F.cosine_similarity(a, b).mean(),
        lambda a, b, c: F.mse_loss(a, b) - F.mse_loss(a, c),
        F.triplet_margin_loss,
        lambda a, b, _: F.cross_entropy(a @ b.T, torch.arange(8)),
        lambda a, b, _: F.mse_loss(a, b) + F.relu(1 - a.std(0)).mean(),
        lambda a, b, _: a.mean() - b.mean(),
        lambda a, b, _: ((a - b).norm(dim=1) - FIXED[:, 0]).square().mean(),
        lambda a, *_: a.square().mean(),
    ],
)
def test_what_is_detached_fixed_or_pushed_apart_does_not(loss):
    assert not seen(loss).attracts


def test_pairs_are_compared_and_single_outputs_are_not():
    assert seen(lambda a, b, _: F.cross_entropy(a @ b.T, torch.arange(8))).compared == {0, 1}
    assert not seen(lambda a, *_: F.cross_entropy(a, torch.arange(8) % 4)).compared


class Siamese(nn.Module):
    """Gives its loss, and nothing else."""

    def __init__(self, *, stops):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 8))
        self.predictor, self.stops = nn.Linear(8, 8), stops

    def forward(self, one, other):
        a, b = self.encoder(one), self.encoder(other)
        p, q = self.predictor(a), self.predictor(b)
        if self.stops:
            a, b = a.detach(), b.detach()
        return -F.cosine_similarity(p, b).mean() / 2 - F.cosine_similarity(q, a).mean() / 2


@pytest.mark.parametrize("stops", [True, False])
def test_outputs_of_parts_are_compared_where_the_model_gives_a_loss(stops):
    model = Siamese(stops=stops)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch() as run:
        for _ in range(33):  # the last of them is looked at
            x = torch.randn(32, 4)
            optimizer.zero_grad()
            model(x, x + 0.1 * torch.randn(32, 4)).backward()
            optimizer.step()
    row = run.trace.row("likeness")
    assert row.integer("attracting") == row.integer("looked")
    assert (row.integer("looked") > 8) is not stops
    hooks = [[*m._forward_hooks, *m._forward_pre_hooks] for m in model.modules()]  # noqa: SLF001
    assert not any(hooks)


def of_one_another(loss):
    first = WEIGHT * 2.0
    mark(first, 0)
    second = first.tanh() * 3.0
    mark(second, 1)
    other = WEIGHT * 5.0
    mark(other, 2)
    return between(loss(first, second, other)).attracts


def test_an_answer_held_against_what_it_is_given_does_not_attract():
    assert not of_one_another(lambda a, b, _: (b - a).abs().mean())
    assert not of_one_another(lambda a, b, _: F.mse_loss(a, b))
    assert of_one_another(lambda _, b, c: F.mse_loss(b, c))
    assert of_one_another(lambda a, b, c: F.mse_loss(a, b) + F.mse_loss(b, c))


def verdicts(optimizers, *turns, steps=60):
    """Of the check, by training; each optimizer in turn steps on its own loss, or all on one."""
    made = [torch.optim.Adam(own, 3e-3) for own in optimizers]
    with watch() as run:
        for _ in range(steps):
            for place, loss in enumerate(turns):
                stepping = made if len(turns) == 1 else [made[place]]
                for optimizer in stepping:
                    optimizer.zero_grad()
                loss().backward()
                for optimizer in stepping:
                    optimizer.step()
    return [verdict for verdict in run.verdicts if verdict.check == "outputs_stay_apart"]


def test_a_critic_that_gives_back_is_not_told_of_its_makers_loss():
    torch.manual_seed(0)
    maker = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 20))
    judge = nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 20))
    real = torch.randn(32, 20) * torch.linspace(0.1, 2, 20)

    def makes():
        made = maker(torch.randn(32, 8))
        return (judge(made) - made).abs().mean()

    def judges():
        made = maker(torch.randn(32, 8)).detach()
        return (judge(real) - real).abs().mean() - 0.1 * (judge(made) - made).abs().mean()

    own = maker.parameters(), judge.parameters()
    made, judged = verdicts(own, makes, judges)
    assert not {made.outcome, judged.outcome} & {Outcome.FAILED, Outcome.ERRORED}
    assert judged.outcome is Outcome.NOT_APPLICABLE
    assert not judged.advice
    assert not any("detach" in advice for advice in made.advice)


def test_all_that_step_on_one_loss_are_told_of_it():
    torch.manual_seed(0)
    encoder, predictor = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 8)), nn.Linear(8, 8)

    def loss():
        x = torch.randn(32, 4)
        one, other = encoder(x), encoder(x + 0.1 * torch.randn(32, 4))
        return F.mse_loss(predictor(one), other) + F.mse_loss(predictor(other), one)

    found = verdicts((encoder.parameters(), predictor.parameters()), loss)
    assert len(found) == 2
    for verdict in found:
        said = [*verdict.advice, *(suspect.finding for suspect in verdict.suspects)]
        assert any("distances between outputs of the model" in each for each in said)


@pytest.mark.parametrize("begins_at_zero", [True, False])
def test_outputs_that_become_alike_are_told_and_a_head_that_begins_at_zero_is_not(begins_at_zero):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 10))
    if begins_at_zero:
        nn.init.zeros_(model[2].weight)
        nn.init.zeros_(model[2].bias)
    centres = torch.randn(10, 20)

    def loss():
        y = torch.randint(0, 10, (16,))
        x = 1 + 0.05 * centres[y] + 0.02 * torch.randn(16, 20)
        out, near = model(x), model(x + 0.01 * torch.randn_like(x))
        near = F.kl_div(near.log_softmax(1), model(x).softmax(1), reduction="sum") / 16
        return near + (F.cross_entropy(out, y) if begins_at_zero else F.mse_loss(out, model(x.flip(0))))

    (found,) = verdicts([model.parameters()], loss, steps=16 if begins_at_zero else 100)
    assert any("become alike" in advice for advice in found.advice) is not begins_at_zero
