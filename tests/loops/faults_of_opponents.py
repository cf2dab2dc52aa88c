"""Adversarial loops with wrong labels or signs, beside healthy ones of several kinds."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .faults import fault
from .healthy import mlp


def _points():
    generator = torch.Generator().manual_seed(5)
    return torch.randn(512, 2, generator=generator) * torch.tensor([1.0, 0.3]) + 1


def _logits(scores, label):
    return F.binary_cross_entropy_with_logits(scores, torch.full_like(scores, label))


def _critic(scores, label):
    return -scores.mean() if label else scores.mean()


def _hinge(scores, label):
    return F.relu(1 - scores).mean() if label else F.relu(1 + scores).mean()


def _squares(scores, label):
    return F.mse_loss(scores, torch.full_like(scores, label))


def _play(loss=_logits, *, data=1.0, made=0.0, wanted=1.0, detach=True, maker_loss=None, steps=40):
    points, generator, judge = _points(), mlp(4, 32, 2), mlp(2, 32, 1)
    of_generator, of_judge = (torch.optim.Adam(m.parameters(), lr=1e-3) for m in (generator, judge))
    for _ in range(steps):
        real = points[torch.randint(0, 512, (64,))]
        fake = generator(torch.randn(64, 4))
        of_judge.zero_grad()
        seen = fake.detach() if detach else fake
        (loss(judge(real), data) + loss(judge(seen), made)).backward(retain_graph=not detach)
        of_judge.step()
        of_generator.zero_grad()
        (maker_loss or loss)(judge(fake), wanted).backward()
        of_generator.step()


def opponents():
    _play()


def critics():
    _play(_critic)


def _in_turns(*, made=0.0, wanted=1.0):
    """A backward for each part, and a sigmoid within the discriminator."""
    points, generator = _points(), mlp(4, 32, 2)
    judge = nn.Sequential(mlp(2, 32, 1), nn.Sigmoid(), nn.Flatten(0))
    of_generator, of_judge = (torch.optim.Adam(m.parameters(), lr=1e-3) for m in (generator, judge))
    label = torch.empty(64)
    for _ in range(40):
        judge.zero_grad()
        F.binary_cross_entropy(judge(points[torch.randint(0, 512, (64,))]), label.fill_(1.0)).backward()
        fake = generator(torch.randn(64, 4))
        F.binary_cross_entropy(judge(fake.detach()), label.fill_(made)).backward()
        of_judge.step()
        generator.zero_grad()
        F.binary_cross_entropy(judge(fake), label.fill_(wanted)).backward()
        of_generator.step()


def in_turns():
    _in_turns()


@fault(opponents, "opponents_are_opposed", words=("the generator's loss has the label",))
def generator_with_the_label_of_made_samples():
    _play(wanted=0.0)


@fault(critics, "opponents_are_opposed", words=("the generator's loss has the label",))
def generator_with_the_sign_of_its_critic():
    _play(_critic, wanted=0.0)


@fault(in_turns, "opponents_are_opposed", words=("the generator's loss has the label",))
def generator_with_the_label_that_was_left():
    _in_turns(wanted=0.0)


@fault(opponents, "opponents_are_opposed", words=("told the same",))
def one_label_for_data_and_made():
    _play(made=1.0)


@fault(in_turns, "opponents_are_opposed", words=("told the same",))
def one_label_for_both_in_turns():
    _in_turns(made=1.0)


# -- healthy neighbours ---------------------------------------------------------------------------


def data_is_zero():
    _play(data=0.0, made=1.0, wanted=0.0)


def smoothed_labels():
    _play(data=0.9)


def hinges():
    _play(_hinge, maker_loss=_critic)


def least_squares():
    _play(_squares)


def never_detached():
    _play(detach=False)


def least_likely_to_be_found_out():
    """The generator's loss as it was first written: the discriminator's, with its sign turned."""
    _play(wanted=0.0, maker_loss=lambda scores, label: -_logits(scores, label))


def labels_flipped_now_and_then():
    flips = iter(torch.rand(400, generator=torch.Generator().manual_seed(1)) < 0.1)

    def loss(scores, label):
        return _logits(scores, 1 - label if next(flips) else label)

    _play(loss, maker_loss=_logits)


def helper_and_helped():
    """A second network that judges what the first makes, for the same labels: nobody is opposed."""
    points = _points()
    first, second = mlp(2, 16, 4), mlp(4, 16, 1)
    optimizers = [torch.optim.Adam(m.parameters(), lr=1e-3) for m in (first, second)]
    for _ in range(40):
        x = points[torch.randint(0, 512, (64,))]
        y = (x[:, :1] > 1).float()
        for seen, optimizer in zip((first(x), first(x).detach()), optimizers, strict=True):
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(second(seen), y).backward()
            optimizer.step()


def domains():
    """A critic of two domains, and an encoder that lets it see no difference."""
    points = _points()
    encoder, classes, critic = mlp(2, 16, 8), nn.Linear(8, 2), mlp(8, 16, 1)
    own = torch.optim.Adam([*encoder.parameters(), *classes.parameters()], lr=1e-3)
    critics_own = torch.optim.Adam(critic.parameters(), lr=1e-3)
    for _ in range(40):
        source = points[torch.randint(0, 512, (64,))]
        target = source + 0.5
        critics_own.zero_grad()
        for x, label in ((source, 1.0), (target, 0.0)):
            _logits(critic(encoder(x).detach()), label).backward()
        critics_own.step()
        own.zero_grad()
        seen = encoder(source)
        named = F.cross_entropy(classes(seen), (source[:, 0] > 1).long())
        (named + _logits(critic(encoder(target)), 1.0)).backward()
        own.step()


QUIET = [
    data_is_zero,
    smoothed_labels,
    hinges,
    least_squares,
    never_detached,
    least_likely_to_be_found_out,
    labels_flipped_now_and_then,
    helper_and_helped,
    domains,
]
"""None of them may raise an alarm."""
