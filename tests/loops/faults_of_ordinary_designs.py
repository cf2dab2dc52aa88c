"""Ordinary sound loops that were once told as faults, by what they hold, look at or begin anew."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from .data import digits
from .healthy import mlp


def _rows(count=None):
    images, labels = digits()
    return images.flatten(1)[:count], labels[:count]


def _learn(model, loader, epochs=1, optimizer=None):
    optimizer = optimizer or torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    return model


def a_few_training_images_are_restored_each_epoch():
    rows, labels = _rows()
    test_loader = DataLoader(TensorDataset(rows[1200:], labels[1200:]), 64)
    model = mlp(64, 24, 64)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    fixed, seen = rows[:32], []
    for _ in range(5):
        for (x,) in DataLoader(TensorDataset(rows[:1200]), 48, shuffle=True):
            optimizer.zero_grad()
            F.mse_loss(model(x), x).backward()
            optimizer.step()
        with torch.no_grad():
            seen.append(model(fixed))
    return test_loader


def training_accuracy_of_a_part_that_is_kept():
    rows, labels = _rows(1000)
    x_train, y_train, x_test, y_test = rows[:640], labels[:640], rows[640:], labels[640:]
    model, part = mlp(64, 32, 10), torch.randperm(640)[:80]
    xp, yp = x_train[part], y_train[part]
    for _ in range(5):
        _learn(model, DataLoader(TensorDataset(x_train, y_train), 32, shuffle=True))
        model.eval()
        with torch.no_grad():
            (model(xp).argmax(1) == yp).float().mean().item()
        model.train()
    first, bias, last, offset = (p.detach() for p in model.parameters())
    scores = (x_test @ first.T + bias).relu() @ last.T + offset
    return (scores.argmax(1) == y_test).float().mean().item()


def members_whose_losses_are_propagated_one_by_one():
    rows, labels = _rows(512)
    members = [mlp(64, 16, 10) for _ in range(16)]
    optimizer = torch.optim.Adam([p for each in members for p in each.parameters()], lr=3e-3)
    for _ in range(3):
        for x, y in DataLoader(TensorDataset(rows, labels), 64, shuffle=True):
            optimizer.zero_grad()
            losses = [F.cross_entropy(each(x), y) for each in members]
            for loss in losses:
                loss.backward()
            optimizer.step()


def micro_batches_whose_losses_are_kept_until_the_step():
    rows, labels = _rows(1280)
    model = mlp(64, 32, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(3):
        window = []
        for x, y in DataLoader(TensorDataset(rows, labels), 16, shuffle=True):
            loss = F.cross_entropy(model(x), y) / 20
            loss.backward()
            window.append(loss)
            if len(window) == 20:
                optimizer.step()
                optimizer.zero_grad()
                torch.stack(window).sum().item()
                window.clear()


def _trained(rows, labels):
    return _learn(mlp(64, 32, 10), DataLoader(TensorDataset(rows, labels), 40, shuffle=True))


def trials_of_which_the_last_is_scored():
    rows, labels = _rows()
    for trial in range(6):
        model = _trained(rows[:800], labels[:800])
    with torch.no_grad():
        return trial, (model(rows[1200:]).argmax(1) == labels[1200:]).float().mean().item()


def runs_with_a_seed_each():
    rows, labels = _rows(640)
    loader = DataLoader(TensorDataset(rows, labels), 40, shuffle=True)
    for run in range(8):
        torch.manual_seed(run)
        model = _learn(mlp(64, 32, 10), loader)
    with torch.no_grad():
        return model(rows[:8]).argmax(1)


def _predict(rows, target, cut):
    """Standardised by the rows before the cut."""
    rows = (rows - rows[:cut].mean(0)) / rows[:cut].std(0)
    train_loader = DataLoader(TensorDataset(rows[:cut], target[:cut]), 40, shuffle=True)
    val_loader = DataLoader(TensorDataset(rows[cut:], target[cut:]), 40)
    model = mlp(rows.shape[1], 32, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(4):
        for x, y in train_loader:
            optimizer.zero_grad()
            F.mse_loss(model(x)[:, 0], y).backward()
            optimizer.step()
        with torch.no_grad():
            for x, y in val_loader:
                F.mse_loss(model(x)[:, 0], y).item()


def the_end_of_a_series_with_a_trend():
    time = torch.arange(2400.0)
    series = 0.01 * time + 0.3 * torch.sin(time / 4) + 0.2 * torch.randn(2400)
    lags = torch.stack([series[8 - k : 2400 - k] for k in range(1, 9)], 1)
    day = torch.stack([torch.sin(time[8:] / 4), torch.cos(time[8:] / 4)], 1)
    _predict(torch.cat([lags, day], 1), series[8:] - lags[:, 0], 2200)


def a_machine_under_load():
    rest, load = torch.randn(800, 12), torch.randn(200, 12)
    load[:, 4:] *= torch.linspace(4, 14, 8)
    rows = torch.cat([rest, load])
    _predict(rows, torch.sin(0.3 * rows @ torch.randn(12)), 800)


def clients_that_take_a_step_each():
    rows, labels = _rows(1200)
    server = mlp(64, 24, 10)
    for _ in range(12):
        clients = []
        for part in torch.randperm(1200).chunk(6):
            client = copy.deepcopy(server)
            batch = DataLoader(TensorDataset(rows[part], labels[part]), len(part))
            clients.append(_learn(client, batch, optimizer=torch.optim.SGD(client.parameters(), 0.2)))
        weights = [each.state_dict() for each in clients]
        server.load_state_dict({k: sum(w[k] for w in weights) / 6 for k in weights[0]})


def a_small_network_for_each_image():
    rows, _ = _rows(20)
    at = torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, 8)] * 2, indexing="ij"), -1).view(-1, 2)
    for row in rows:
        model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))
        optimizer = torch.optim.LBFGS(model.parameters(), max_iter=12)

        def closure(model=model, optimizer=optimizer, row=row):
            optimizer.zero_grad()
            loss = F.mse_loss(model(at)[:, 0], row)
            loss.backward()
            return loss

        optimizer.step(closure)


class OwnCell(nn.Module):
    """Keeps its state in an attribute."""

    def __init__(self):
        super().__init__()
        self.seen, self.before, self.said = nn.Linear(6, 48), nn.Linear(48, 48), nn.Linear(96, 6)
        self.state = torch.zeros(32, 48)

    def forward(self, x):
        old = self.state.detach()
        self.state = torch.tanh(self.seen(x) + 0.1 * self.before(old))
        return self.said(torch.cat([old, self.state], 1))


def what_was_shown_one_step_before():
    model = OwnCell()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    last = torch.randint(6, (32,))
    for _ in range(120):
        shown = torch.randint(6, (32,))
        optimizer.zero_grad()
        F.cross_entropy(model(F.one_hot(shown, 6) + 0.1 * torch.randn(32, 6)), last).backward()
        optimizer.step()
        last = shown


QUIET = [
    a_few_training_images_are_restored_each_epoch,
    training_accuracy_of_a_part_that_is_kept,
    members_whose_losses_are_propagated_one_by_one,
    micro_batches_whose_losses_are_kept_until_the_step,
    trials_of_which_the_last_is_scored,
    runs_with_a_seed_each,
    the_end_of_a_series_with_a_trend,
    a_machine_under_load,
    clients_that_take_a_step_each,
    a_small_network_for_each_image,
    what_was_shown_one_step_before,
]
"""None of them may raise an alarm."""
