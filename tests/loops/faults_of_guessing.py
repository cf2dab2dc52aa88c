"""Loops whose classifier ends with guessing, broken by its steps, and others that guess for a reason."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .data import digits, tumours
from .faults import fault
from .healthy import mlp


class Rows(nn.Module):
    """Rows of an image as tokens of a transformer, answered from a token of its own."""

    def __init__(self, width=32, depth=2):
        super().__init__()
        self.embed = nn.Linear(8, width)
        self.places = nn.Parameter(torch.randn(1, 9, width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, 4, 64, dropout=0.0, batch_first=True)
        self.blocks = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.head = nn.Linear(width, 10)

    def forward(self, images):
        tokens = self.embed(images.squeeze(1))
        tokens = torch.cat([torch.zeros_like(tokens[:, :1]), tokens], 1)
        return self.head(self.blocks(tokens + self.places)[:, 0])


def _trained(model, optimizer, loss=F.cross_entropy, *, data=None, steps=120, size=64):
    inputs, targets = data or digits()
    for _ in range(steps):
        i = torch.randint(0, len(inputs), (size,))
        optimizer.zero_grad()
        loss(model(inputs[i]), targets[i]).backward()
        optimizer.step()


def flat(*sizes):
    return nn.Sequential(nn.Flatten(), mlp(*sizes))


def transformer():
    model = Rows()
    _trained(model, torch.optim.Adam(model.parameters(), lr=2e-3))


@fault(transformer, "loss_beats_guessing", words=("learning rate is too high",))
def transformer_broken_by_its_first_steps():
    model = Rows()
    _trained(model, torch.optim.Adam(model.parameters(), lr=0.1), steps=200)


@fault(
    transformer,
    *("loss_beats_guessing", "parameters_update", "training_is_stable"),
    words=("learning rate", "too high"),
)
def convolutions_whose_units_die():
    model = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(1024, 10)),
    )
    _trained(model, torch.optim.Adam(model.parameters(), lr=0.1))


def _tables(scaled):
    rows, labels = tumours()
    rows = rows if scaled else 1000 * rows + 5000
    model = mlp(30, 32, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    _trained(
        model,
        optimizer,
        F.binary_cross_entropy_with_logits,
        data=(rows, labels.view(-1, 1)),
        steps=200,
    )


def table_at_unit_scale():
    _tables(scaled=True)


@fault(
    table_at_unit_scale,
    *("loss_beats_guessing", "training_is_stable"),
    words=("features that are not scaled",),
)
def table_that_is_not_scaled():
    _tables(scaled=False)


def _labels_that_chance_draws(**options):
    images, labels = digits()
    model = flat(64, 16, 10)
    optimizer = torch.optim.SGD(model.parameters(), **options)
    _trained(model, optimizer, data=(images, labels[torch.randperm(len(labels))]), steps=280)


@fault(transformer, "loss_beats_guessing", words=("no better", "stays at that of guessing"), advice=True)
def labels_of_other_samples():
    _labels_that_chance_draws(lr=0.01)


# -- healthy neighbours ---------------------------------------------------------------------------


def hard_problem():
    """The first symbol of a long row, which a recurrent network is long in finding."""

    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.LSTM(1, 16, batch_first=True), nn.Linear(16, 2)

        def forward(self, rows):
            return self.head(self.rnn(rows)[0][:, -1])

    rows, model = torch.randn(500, 40, 1), Last()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    _trained(model, optimizer, data=(rows, (rows[:, 0, 0] > 0).long()))


def head_of_zeros():
    model = flat(64, 32, 10)
    nn.init.zeros_(model[1][-1].weight)
    nn.init.zeros_(model[1][-1].bias)
    _trained(model, torch.optim.Adam(model.parameters(), lr=2e-3))


def large_steps_that_go_well():
    model = flat(64, 64, 10)
    _trained(model, torch.optim.Adam(model.parameters(), lr=0.05))


def frequencies_alone():
    """A baseline that knows nothing but how often each label comes."""

    class Prior(nn.Module):
        def __init__(self):
            super().__init__()
            self.scores = nn.Parameter(torch.zeros(10))

        def forward(self, images):
            return self.scores.expand(len(images), 10)

    model = Prior()
    _trained(model, torch.optim.SGD(model.parameters(), lr=1.0))


def rare_events():
    inputs = torch.randn(4000, 20)
    labels = (inputs[:, 0] + 0.5 * torch.randn(4000) > 2.2).float().view(-1, 1)
    model = mlp(20, 32, 1)
    loss = F.binary_cross_entropy_with_logits
    _trained(model, torch.optim.Adam(model.parameters(), lr=1e-3), loss, data=(inputs, labels))


def smoothed_labels():
    model = flat(64, 64, 10)
    _trained(
        model,
        torch.optim.Adam(model.parameters(), lr=2e-3),
        lambda scores, labels: F.cross_entropy(scores, labels, label_smoothing=0.2),
    )


def partners_in_a_batch():
    """Two views; at first, and for long, the right one of 64 is as likely as any other."""
    images, _ = digits()
    net = flat(64, 32, 16)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-5)
    for _ in range(280):
        some = images[torch.randint(0, 1000, (64,))]
        one, other = (net(some + 0.5 * torch.randn_like(some)) for _ in range(2))
        likeness = F.normalize(one, dim=1) @ F.normalize(other, dim=1).T
        optimizer.zero_grad()
        F.cross_entropy(likeness, torch.arange(64)).backward()
        optimizer.step()


def critic_that_cannot_tell():
    """A generator that has won: its critic says neither yes nor no."""
    maker, critic = nn.Linear(4, 8), mlp(8, 16, 1)
    making = torch.optim.Adam(maker.parameters(), lr=1e-2)
    judging = torch.optim.Adam(critic.parameters(), lr=1e-2)
    answers = torch.cat([torch.ones(32, 1), torch.zeros(32, 1)])
    for _ in range(280):
        noise, real = torch.randn(32, 4), nn.functional.pad(torch.randn(32, 4), (0, 4))
        judging.zero_grad()
        said = critic(torch.cat([real, maker(noise).detach()]))
        F.binary_cross_entropy_with_logits(said, answers).backward()
        judging.step()
        making.zero_grad()
        F.binary_cross_entropy_with_logits(critic(maker(noise)), torch.ones(32, 1)).backward()
        making.step()


def policy_that_stays_open():
    """Actions of a bandit that pays for none."""
    policy = mlp(4, 16, 3)
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-3)
    for _ in range(280):
        scores = policy(torch.randn(64, 4))
        actions = torch.distributions.Categorical(logits=scores).sample()
        optimizer.zero_grad()
        (F.cross_entropy(scores, actions, reduction="none") * torch.randn(64)).mean().backward()
        optimizer.step()


def weights_that_shrink_a_little():
    """Labels that chance has drawn, and weight decay as is usual."""
    _labels_that_chance_draws(lr=0.1, weight_decay=1e-3)


UNTOLD = [
    head_of_zeros,
    large_steps_that_go_well,
    rare_events,
    smoothed_labels,
    partners_in_a_batch,
    critic_that_cannot_tell,
    policy_that_stays_open,
    hard_problem,
]
"""Nothing is told of their guessing."""
QUIET = [*UNTOLD, frequencies_alone, weights_that_shrink_a_little]
"""None of them may raise an alarm."""
