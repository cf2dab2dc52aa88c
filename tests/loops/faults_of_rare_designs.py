"""Sound loops of designs that rules once took for faults: none of them may raise an alarm."""

from __future__ import annotations

import inspect
import statistics

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from .data import diabetes, digits, tumours
from .healthy import mlp


def candidates_scored_one_by_one():
    """A ranker gives each of eight one number; the right one is put first, which it cannot know."""
    images, labels = digits()
    rows = images.flatten(1)
    of_class = [rows[labels == label] for label in range(10)]
    ranker = mlp(128, 64, 1)
    optimizer = torch.optim.Adam(ranker.parameters(), lr=2e-3)
    loader = DataLoader(TensorDataset(rows, labels), 160, shuffle=True)
    for x, y in (pair for _ in range(3) for pair in loader):
        right = torch.stack([of_class[k][torch.randint(len(of_class[k]), ())] for k in y])
        wrong = torch.stack([of_class[(k + torch.randint(1, 10, ())) % 10][:7] for k in y])
        pairs = torch.cat([x[:, None].expand(-1, 8, -1), torch.cat([right[:, None], wrong], 1)], 2)
        optimizer.zero_grad()
        F.cross_entropy(ranker(pairs).squeeze(-1), torch.zeros(len(x), dtype=torch.long)).backward()
        optimizer.step()


def the_better_of_two():
    """Of a difference, without a bias: the negative the other way round."""
    rows, target = diabetes()
    first, second = torch.randint(len(rows), (2, 2000))
    is_less = (target[first] < target[second]).flatten()
    better, worse = torch.where(is_less, second, first), torch.where(is_less, first, second)
    body, head = mlp(10, 32, 16), nn.Linear(16, 1, bias=False)
    optimizer = torch.optim.Adam([*body.parameters(), *head.parameters()], lr=3e-3)
    loader = DataLoader(TensorDataset(rows[better], rows[worse]), 200, shuffle=True)
    for a, b in (pair for _ in range(3) for pair in loader):
        score = head(body(a) - body(b)).squeeze(-1)
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(score, torch.ones_like(score)).backward()
        optimizer.step()


def a_whole_graph_by_its_nodes():
    """All nodes go through the model in every step; the loader gives those that are compared."""
    images, labels = digits()
    rows, labels = images[:400].flatten(1), labels[:400]
    near = torch.cdist(rows, rows).topk(6, largest=False).indices
    nodes = torch.randperm(400)
    train_loader, val_loader = DataLoader(nodes[:280], 35, shuffle=True), DataLoader(nodes[280:], 40)
    enter, leave = nn.Linear(64, 32), nn.Linear(32, 10)
    model = nn.Sequential(enter, nn.ReLU(), leave)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(6):
        model.train()
        for chosen in train_loader:
            optimizer.zero_grad()
            F.cross_entropy(model(rows)[near].mean(1)[chosen], labels[chosen]).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            for chosen in val_loader:
                model(rows)[near].mean(1)[chosen].argmax(1)


def margins_that_are_met():
    """Gradients of exactly zero beside clipped values: nothing was reset."""
    rows, labels = tumours()
    signs = 2 * labels - 1
    line = nn.Linear(30, 1)
    optimizer = torch.optim.SGD(line.parameters(), lr=0.1)
    for _ in range(30):
        for x, y in DataLoader(TensorDataset(rows[:60], signs[:60]), 6, shuffle=True):
            optimizer.zero_grad()
            (1 - y * line(x)[:, 0]).clamp(min=0).mean().backward()
            nn.utils.clip_grad_value_(line.parameters(), 1.0)
            optimizer.step()


def senders_and_receivers():
    """Each beside each, and as many targets."""
    traits = torch.randn(50, 2)
    ties = torch.bernoulli(torch.sigmoid(traits[:, :1] + traits[:, 1] - 1))
    body, sends, receives = nn.Linear(2, 16), nn.Linear(16, 1), nn.Linear(16, 1)
    model = nn.ModuleList([body, sends, receives])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        hidden = body(traits).tanh()
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(sends(hidden) + receives(hidden)[:, 0], ties).backward()
        optimizer.step()


def halved_every_hundred_batches():
    """Eight times in the whole training, of two long epochs."""
    rows = torch.randn(3200, 12)
    kinds = (rows @ torch.randn(12, 4)).argmax(1)
    model = mlp(12, 32, 4)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 100, gamma=0.5)
    for _ in range(2):
        for x, y in DataLoader(TensorDataset(rows, kinds), 8, shuffle=True):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            schedule.step()


def folds_of_one_text():
    """The weights are set back in each, and one optimizer without memory serves all."""
    text = inspect.getsource(statistics)[:24_000]
    letters = sorted(set(text))
    ids = torch.tensor([letters.index(letter) for letter in text])
    table, head = nn.Embedding(len(letters), 24), nn.Linear(24, len(letters))
    model = nn.Sequential(table, nn.Tanh(), head)
    began = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)

    def loss_on(part):
        begins = torch.randint(len(part) - 34, (16,))
        rows = torch.stack([part[i : i + 33] for i in begins])
        return F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())

    for fold in range(4):
        model.load_state_dict(began)
        val_text = ids[fold * 6000 : (fold + 1) * 6000]
        train_text = torch.cat([ids[: fold * 6000], ids[(fold + 1) * 6000 :]])
        for _ in range(30):
            optimizer.zero_grad()
            loss_on(train_text).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            sum(loss_on(val_text).item() for _ in range(20))
        model.train()


def restarts_of_one_model():
    """The weights are drawn anew in each, one optimizer without memory serves all, the best is kept."""
    rows, labels = tumours()
    order = torch.randperm(len(rows))
    rows, labels = rows[order], labels[order].long()
    train = DataLoader(TensorDataset(rows[:400], labels[:400]), 10, shuffle=True)
    test = DataLoader(TensorDataset(rows[400:], labels[400:]), 50)
    model = mlp(30, 16, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    best = (0, model.state_dict())
    for restart in range(6):
        torch.manual_seed(restart)
        for layer in model:
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            right = sum((model(x).argmax(1) == y).sum().item() for x, y in test)
        if right > best[0]:
            best = (right, {name: value.clone() for name, value in model.state_dict().items()})
    model.load_state_dict(best[1])


QUIET = [
    candidates_scored_one_by_one,
    the_better_of_two,
    a_whole_graph_by_its_nodes,
    margins_that_are_met,
    senders_and_receivers,
    halved_every_hundred_batches,
    folds_of_one_text,
    restarts_of_one_model,
]
