"""Divergences of a posterior from a learned prior, and of a teacher that is not detached."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from pytest_dlcheck import watch

LABELS = torch.arange(160) % 5
X = torch.randn(5, 12)[LABELS] + 0.3 * torch.randn(160, 12)
CONTEXT = F.one_hot(LABELS, 5) + 0.1 * torch.randn(160, 5)


def by_torch(posterior, prior):
    return F.kl_div(prior.log_softmax(1), posterior.softmax(1), reduction="batchmean")


def written_out(posterior, prior):
    apart = posterior.log_softmax(1) - prior.log_softmax(1)
    return (posterior.softmax(1) * apart).sum(1).mean()


def in_two_terms(posterior, prior):
    weights = posterior.softmax(1)
    entropy = -(weights * posterior.log_softmax(1)).sum(1).mean()
    return -(weights * prior.log_softmax(1)).sum(1).mean() - entropy


def squared(posterior, prior):
    return F.mse_loss(prior, posterior)


def net(given, made):
    return nn.Sequential(nn.Linear(given, 16), nn.ReLU(), nn.Linear(16, made))


def advice(parts, loss):
    optimizer = torch.optim.Adam([p for part in parts for p in part.parameters()], 2e-3)
    with watch() as run:
        for batch in DataLoader(TensorDataset(X, CONTEXT, LABELS), 16, shuffle=True):
            optimizer.zero_grad()
            loss(*batch).backward()
            optimizer.step()
    return [advice for verdict in run.verdicts for advice in verdict.advice]


@pytest.mark.parametrize("divergence", [by_torch, written_out, in_two_terms, squared])
def test_a_learned_prior_may_move_with_its_posterior(divergence):
    encoder, prior, decoder = net(17, 8), net(5, 8), net(13, 12)

    def loss(x, context, _):
        posterior = encoder(torch.cat([x, context], 1))
        code = posterior if divergence is squared else F.gumbel_softmax(posterior)
        again = decoder(torch.cat([code, context], 1))
        return F.mse_loss(again, x) + 0.1 * divergence(posterior, prior(context))

    assert advice([encoder, prior, decoder], loss) == []


def test_two_views_of_a_sample_by_one_layer_may_both_move():
    encoder = net(12, 8)

    def loss(x, _, __):
        one, other = encoder(x + 0.1 * torch.randn_like(x)), encoder(x + 0.1 * torch.randn_like(x))
        spread = sum(F.relu(1 - view.std(0)).mean() for view in (one, other))
        return F.mse_loss(one, other) + spread

    assert advice([encoder], loss) == []


def test_a_target_that_is_worked_out_by_the_same_layer_may_not():
    values = net(12, 8)

    def loss(x, _, labels):
        following = 0.1 * x.mean(1) + 0.9 * values(x.roll(1, 0)).amax(1)
        return F.mse_loss(values(x).gather(1, labels[:, None]).squeeze(1), following)

    assert any("gradients flow into the targets" in each for each in advice([values], loss))


@pytest.mark.parametrize("divergence", [by_torch, written_out, in_two_terms, squared])
@pytest.mark.parametrize("learns", ["the student", "the teacher", "both", "neither"])
def test_a_teacher_may_not_move_unnoticed(divergence, learns):
    teacher, student = net(12, 5), net(12, 5)

    def loss(x, _, labels):
        taught, scores = teacher(x), student(x)
        found = divergence(taught, scores)
        found = found + F.cross_entropy(scores, labels) if learns in {"the student", "both"} else found
        return found + F.cross_entropy(taught, labels) if learns in {"the teacher", "both"} else found

    assert any("gradients flow into the targets" in each for each in advice([teacher, student], loss))
