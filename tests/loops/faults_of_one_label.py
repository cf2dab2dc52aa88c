"""Loops whose labels are all one, and others whose losses want one answer for a reason."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import nn

from .data import digits, tumours
from .faults import fault
from .healthy import mlp


def _classified(inputs, targets, *, loss=F.cross_entropy, outputs=10, steps=240):
    model = mlp(inputs.shape[1], 32, outputs)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(steps):
        i = torch.randint(0, len(inputs), (32,))
        optimizer.zero_grad()
        loss(model(inputs[i]).squeeze(1), targets[i]).backward()
        optimizer.step()


def classes():
    inputs, targets = digits()
    _classified(inputs.flatten(1), targets)


@fault(classes, "loss_beats_guessing", words=("all labels are the same",))
def labels_compared_with_too_large_a_number():
    inputs, targets = digits()
    _classified(inputs.flatten(1), (targets > 9).long())


@fault(classes, "loss_beats_guessing", words=("all labels are the same",))
def one_class_is_left():
    inputs, targets = digits()
    kept = targets == 4
    _classified(inputs.flatten(1)[kept], targets[kept])


def yes_or_no():
    inputs, targets = tumours()
    _classified(inputs, targets.float(), loss=F.binary_cross_entropy_with_logits, outputs=1)


@fault(yes_or_no, "loss_beats_guessing", words=("all labels are the same",))
def probabilities_cut_to_whole_numbers():
    inputs, targets = tumours()
    halves = (targets * 0.9).long().float()
    _classified(inputs, halves, loss=F.binary_cross_entropy_with_logits, outputs=1)


def clients_of_one_class_each():
    """Federated averaging, where no client has the classes of another."""
    inputs, targets = digits()
    shared = mlp(64, 32, 10)
    for _ in range(6):
        states = []
        for label in range(10):
            mine = inputs.flatten(1)[targets == label]
            client = copy.deepcopy(shared)
            optimizer = torch.optim.SGD(client.parameters(), lr=0.05)
            for _ in range(4):
                i = torch.randint(0, len(mine), (64,))
                optimizer.zero_grad()
                F.cross_entropy(client(mine[i]), torch.full((64,), label)).backward()
                optimizer.step()
            states.append(client.state_dict())
        mean = {k: torch.stack([each[k] for each in states]).mean(0) for k in states[0]}
        shared.load_state_dict(mean)


def attack_on_one_class():
    """A pattern that makes a trained classifier see one class."""
    inputs, targets = digits()
    inputs, model = inputs.flatten(1), mlp(64, 32, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        i = torch.randint(0, len(inputs), (64,))
        optimizer.zero_grad()
        F.cross_entropy(model(inputs[i]), targets[i]).backward()
        optimizer.step()
    _attacked(model, inputs)


def attack_alone():
    """The same on a model that was trained elsewhere, and is not frozen."""
    inputs, _ = digits()
    _attacked(mlp(64, 32, 10), inputs.flatten(1))


def _attacked(model, inputs):
    pattern = nn.Parameter(torch.zeros(64))
    attacker = torch.optim.Adam([pattern], lr=0.05)
    for _ in range(60):
        i = torch.randint(0, len(inputs), (64,))
        attacker.zero_grad()
        F.cross_entropy(model(inputs[i] + pattern), torch.full((64,), 3)).backward()
        attacker.step()


def generator_and_critic():
    """Each side's answers are all one, in a backward of its own."""
    maker, critic = mlp(4, 32, 8), mlp(8, 32, 1)
    making = torch.optim.Adam(maker.parameters(), lr=1e-3)
    judging = torch.optim.Adam(critic.parameters(), lr=1e-3)
    ask = F.binary_cross_entropy_with_logits
    for _ in range(80):
        real, made = torch.randn(64, 8) + 1, maker(torch.randn(64, 4))
        judging.zero_grad()
        ask(critic(real), torch.ones(64, 1)).backward()
        ask(critic(made.detach()), torch.zeros(64, 1)).backward()
        judging.step()
        making.zero_grad()
        ask(critic(made), torch.ones(64, 1)).backward()
        making.step()


def partners_come_first():
    """Contrast of momentum: the right answer is always number 0."""
    inputs = digits()[0].flatten(1)
    query, key = mlp(64, 64, 16), mlp(64, 64, 16)
    key.load_state_dict(query.state_dict())
    queue = F.normalize(torch.randn(256, 16), dim=1)
    optimizer = torch.optim.SGD(query.parameters(), lr=0.05, momentum=0.9)
    for _ in range(60):
        x = inputs[torch.randint(0, len(inputs), (32,))]
        q = F.normalize(query(x + 0.1 * torch.randn_like(x)), dim=1)
        with torch.no_grad():
            for old, new in zip(key.parameters(), query.parameters(), strict=True):
                old.mul_(0.99).add_(new, alpha=0.01)
            k = F.normalize(key(x + 0.1 * torch.randn_like(x)), dim=1)
        scores = torch.cat([(q * k).sum(1, keepdim=True), q @ queue.T], 1) / 0.2
        optimizer.zero_grad()
        F.cross_entropy(scores, torch.zeros(32, dtype=torch.long)).backward()
        optimizer.step()
        queue = torch.cat([k, queue])[:256]


def classes_one_after_the_other():
    """Class-incremental: each task has one class, and rehearses none."""
    inputs, targets = digits()
    model = mlp(64, 32, 10)
    for label in range(10):
        mine = inputs.flatten(1)[targets == label]
        optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
        for _ in range(12):
            i = torch.randint(0, len(mine), (64,))
            optimizer.zero_grad()
            F.cross_entropy(model(mine[i]), torch.full((64,), label)).backward()
            optimizer.step()


def one_in_a_thousand():
    """Frauds, of which most runs of some hundred steps meet few, and what is looked at none."""
    inputs = torch.randn(20_000, 8)
    targets = torch.zeros(20_000)
    targets[7::1000] = 1
    inputs[targets == 1] += 1.5
    _classified(inputs, targets, loss=F.binary_cross_entropy_with_logits, outputs=1, steps=400)


QUIET = [
    one_in_a_thousand,
    clients_of_one_class_each,
    attack_on_one_class,
    attack_alone,
    generator_and_critic,
    partners_come_first,
    classes_one_after_the_other,
]
"""None of them may raise an alarm."""
