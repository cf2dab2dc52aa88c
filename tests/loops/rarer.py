"""Healthy loops of kinds that were taken for faults: streams, gates of zero, optimizers in turn."""

from __future__ import annotations

from itertools import cycle

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from .data import digits, loaders
from .healthy import evaluate, mlp


class Lanes(Dataset):
    """The next window of a long series, lane by lane; what it is asked for does not matter."""

    def __init__(self, lanes, steps):
        series = torch.sin(torch.arange(lanes * 30 * steps + 1) / 5).unsqueeze(1)
        self.inputs = series[:-1].reshape(lanes, 30, steps, 1)
        self.targets = series[1:].reshape(lanes, 30, steps, 1)
        self.read = 0

    def __len__(self):
        return self.inputs.shape[0] * 30

    def __getitem__(self, index):
        lane, window = self.read % len(self.inputs), self.read // len(self.inputs) % 30
        self.read += 1
        return self.inputs[lane, window], self.targets[lane, window]


def stream_with_a_state_behind_a_loader_that_shuffles():
    """Each row of a batch goes on where that of the batch before ended; arguments have names."""

    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.LSTM(1, 16, batch_first=True)
            self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
            self.head, self.state = nn.Linear(16, 1), None

        def forward(self, x):
            out, state = self.layer(input=x, hx=self.state)
            self.state = tuple(each.detach() for each in state)
            return self.head(out + self.attention(query=out, key=out, value=out)[0])

    model = Reader()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(2):
        for x, y in DataLoader(Lanes(8, 12), 8, shuffle=True):
            optimizer.zero_grad()
            F.mse_loss(model(x), y).backward()
            optimizer.step()


class Gated(nn.Module):
    """A branch whose last layer begins at zero, so that its first has next to no gradient for long."""

    def __init__(self, width):
        super().__init__()
        self.inner, self.last = nn.Linear(width, width), nn.Linear(width, width)
        nn.init.normal_(self.inner.weight, std=width**-0.5 / 2)
        nn.init.zeros_(self.last.weight)

    def forward(self, x):
        return x + self.last(self.inner(x).relu())


def gates_of_zero_over_two_loaders():
    """Two sources are read side by side, by as many iterators, and trained on as one batch."""
    train, test = loaders()
    images, labels = digits()
    inverted = DataLoader(TensorDataset(1 - images, labels), 64, shuffle=True)
    head = nn.Linear(64, 10)
    nn.init.zeros_(head.weight)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), *(Gated(64) for _ in range(4)), head)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(2):
        for (x, y), (u, v) in zip(train, inverted, strict=False):
            optimizer.zero_grad()
            F.cross_entropy(model(torch.cat([x, u])), torch.cat([y, v])).backward()
            optimizer.step()
    evaluate(model, test)


def body_thawed_into_another_group():
    """The head is trained alone at first; then the body joins the same AdamW, at a lower rate."""
    train, test = loaders()
    model = nn.Sequential(nn.Flatten(), mlp(64, 32, 32, 10))
    body, head = model[1][:-1], model[1][-1]
    body.requires_grad_(False)
    optimizer = torch.optim.AdamW(head.parameters(), lr=3e-3)
    for epoch in range(3):
        if epoch == 1:
            body.requires_grad_(True)
            optimizer.add_param_group({"params": list(body.parameters()), "lr": 1e-3})
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        evaluate(model, test)


def architecture_and_weights_in_turn():
    """One model's weights are stepped on one half of the data, its choice of operations on the other."""

    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.choice = nn.Parameter(torch.zeros(2))
            self.operations = nn.ModuleList([nn.Linear(64, 64), nn.Identity()])
            self.head = nn.Linear(64, 10)

        def forward(self, x):
            x, shares = x.flatten(1), self.choice.softmax(0)
            mixed = sum(share * do(x) for share, do in zip(shares, self.operations, strict=True))
            return self.head(mixed.relu())

    train, test = loaders()
    images, labels = (each[1500:] for each in digits())
    model, held_out = Mixed(), cycle(DataLoader(TensorDataset(images, labels), 32, shuffle=True))
    weights = [p for p in model.parameters() if p is not model.choice]
    inner = torch.optim.SGD(weights, lr=0.05, momentum=0.9)
    outer = torch.optim.Adam([model.choice], lr=3e-3)
    for x, y in train:
        others, labels = next(held_out)
        outer.zero_grad()
        F.cross_entropy(model(others), labels).backward()
        outer.step()
        inner.zero_grad()
        F.cross_entropy(model(x), y).backward()
        inner.step()
    evaluate(model, test)


QUIET = [
    stream_with_a_state_behind_a_loader_that_shuffles,
    gates_of_zero_over_two_loaders,
    body_thawed_into_another_group,
    architecture_and_weights_in_turn,
]
"""None of them may raise an alarm."""
UNTOLD = [
    (gates_of_zero_over_two_loaders, "steps are small"),
    (gates_of_zero_over_two_loaders, "begun anew"),
    (body_thawed_into_another_group, "steps are small"),
    (architecture_and_weights_in_turn, "for nothing"),
]
"""What must not be said of them."""
