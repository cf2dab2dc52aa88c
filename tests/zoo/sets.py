"""Graphs, sets and decisions: batches that are one graph, samples that are bags, agents that act."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import Adam, RMSprop
from torch.utils.data import DataLoader

from pytest_dlcheck import Recipe, recipe

from .data import digits, loader, tumours


@recipe
def gcn_on_one_graph():
    """Tumours joined with their nearest neighbours; one batch is the whole graph."""
    features, labels = tumours()
    near = torch.cdist(features, features).topk(6, largest=False).indices
    links = torch.zeros(len(features), len(features)).scatter_(1, near, 1.0)
    links = ((links + links.T) > 0).float()
    share = links.sum(1).rsqrt()
    links = share[:, None] * links * share

    class GCN(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(30, 16), nn.Linear(16, 2)

        def forward(self, features, links):
            hidden = F.dropout(F.relu(links @ self.first(features)), 0.5, self.training)
            return links @ self.second(hidden)

    known = torch.arange(len(labels)) % 4 == 0

    def loss(logits, labels):
        return F.cross_entropy(logits[known], labels[known])

    model = GCN()
    return Recipe(
        model=model,
        train_data=[((features, links), labels)],
        loss=loss,
        optimizer=Adam(model.parameters(), lr=1e-2, weight_decay=5e-4),
        batch_dim=None,
    )


@recipe
def deep_sets():
    """The largest of some numbers, whatever their order."""

    class DeepSets(nn.Module):
        def __init__(self):
            super().__init__()
            self.each = nn.Sequential(nn.Linear(1, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
            self.all = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))

        def forward(self, numbers):
            return self.all(self.each(numbers[..., None]).mean(1)).squeeze(-1)

    numbers = torch.randn(1000, 6, generator=torch.Generator().manual_seed(0))
    model = DeepSets()
    return Recipe(
        model=model,
        train_data=(numbers, numbers.amax(1)),
        loss=nn.MSELoss(),
        optimizer=Adam(model.parameters(), lr=5e-3),
        shapes="b n -> b",
    )


@recipe
def point_net():
    """Digits as bags of their inked points; max pooling sends gradients to few of them."""
    images, labels = digits()
    points = images.flatten(1).topk(20, dim=1).indices
    places = torch.stack([points // 8, points % 8], dim=-1).float() / 3.5 - 1

    class PointNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.points = nn.Sequential(
                nn.Conv1d(2, 64, 1), nn.BatchNorm1d(64), nn.ReLU(), nn.Conv1d(64, 128, 1)
            )
            self.head = nn.Sequential(nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 10))

        def forward(self, places):
            return self.head(self.points(places.transpose(1, 2)).amax(-1))

    model = PointNet()
    return Recipe(
        model=model,
        train_data=loader(places, labels),
        loss=nn.CrossEntropyLoss(),
        optimizer=Adam(model.parameters(), lr=3e-3),
        shapes="b n 2 -> b 10",
    )


@recipe
def nested_inputs():
    """Inputs in a nest: ({"left", "right"}, mask)."""

    class Halves(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Linear(32, 32), nn.Linear(32, 32)
            self.head = nn.Linear(32, 10)

        def forward(self, halves, weight):
            left, right = (halves[side].flatten(1) for side in ("left", "right"))
            return self.head(F.gelu(self.left(left) + weight * self.right(right)))

    images, labels = digits()
    data = [
        (({"left": image[..., :4], "right": image[..., 4:]}, torch.ones(1) * (1 + i % 2)), label)
        for i, (image, label) in enumerate(zip(images, labels, strict=True))
    ]
    model = Halves()
    return Recipe(
        model=model,
        train_data=DataLoader(data, 32, shuffle=True),
        loss=nn.CrossEntropyLoss(),
        optimizer=Adam(model.parameters(), lr=3e-3),
    )


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 32), nn.Tanh())
        self.actor, self.critic = nn.Linear(32, 3), nn.Linear(32, 1)

    def forward(self, states):
        hidden = self.body(states)
        return self.actor(hidden), self.critic(hidden).squeeze(-1)


def contexts():
    return loader(torch.randn(2048, 4, generator=torch.Generator().manual_seed(0)), batch_size=64)


def rewards(states, actions):
    """Action i pays when feature i is the largest of the first three."""
    return (states[:, :3].argmax(1) == actions).float()


@recipe
def reinforce_bandit():
    model = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 3))

    def training_step(model, batch):
        chances = torch.distributions.Categorical(logits=model(batch[0]))
        actions = chances.sample()
        paid = rewards(batch[0], actions)
        return -(chances.log_prob(actions) * (paid - paid.mean())).mean()

    return Recipe(
        model=model,
        train_data=contexts(),
        training_step=training_step,
        optimizer=Adam(model.parameters(), lr=1e-2),
        batch_dim=None,
    )


@recipe
def actor_critic():
    """Two optimizers over parts of one network, an entropy bonus, a critic that learns the value."""
    model = Policy()
    acting = Adam([*model.body.parameters(), *model.actor.parameters()], lr=5e-3)
    judging = Adam(model.critic.parameters(), lr=5e-3)

    def training_step(model, batch):
        logits, values = model(batch[0])
        chances = torch.distributions.Categorical(logits=logits)
        actions = chances.sample()
        paid = rewards(batch[0], actions)
        gain = (paid - values).detach()
        yield acting, -(chances.log_prob(actions) * gain + 0.01 * chances.entropy()).mean()
        _, values = model(batch[0])
        yield judging, F.mse_loss(values, paid)

    return Recipe(
        model=model,
        train_data=contexts(),
        training_step=training_step,
        optimizer=(acting, judging),
    )


@recipe
def q_learning():
    """A chain of seven states walked left or right; the target network is renewed every 20 steps."""
    random = torch.Generator().manual_seed(0)
    states, actions = torch.randint(0, 7, (2000,), generator=random), torch.arange(2000) % 2
    following = (states + 2 * actions - 1).clamp(0, 6)
    model = nn.Sequential(nn.Linear(7, 32), nn.ReLU(), nn.Linear(32, 2))
    target, steps = copy.deepcopy(model).requires_grad_(requires_grad=False), []

    def training_step(model, batch):
        before, action, after = batch
        if len(steps) % 20 == 0:
            target.load_state_dict(model.state_dict())
        steps.append(1)
        paid = (after == 6).float()
        with torch.no_grad():
            worth = paid + 0.9 * target.to(paid.device)(F.one_hot(after, 7).float()).amax(1)
        values = model(F.one_hot(before, 7).float())
        return F.smooth_l1_loss(values.gather(1, action[:, None]).squeeze(1), worth)

    return Recipe(
        model=model,
        train_data=loader(states, actions, following, batch_size=64),
        training_step=training_step,
        optimizer=RMSprop(model.parameters(), lr=1e-3),
    )
