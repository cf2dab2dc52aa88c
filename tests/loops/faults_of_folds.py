"""Folds that leak into each other, beside loops whose data change on purpose."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset, random_split

from . import healthy
from .data import diabetes, digits, tumours
from .faults import fault, train_classifier
from .faults_of_resets import Reader
from .healthy import Net, evaluate, mlp


def _train(model, optimizer, loader, loss=F.cross_entropy):
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()


def _images(count=900):
    images, labels = digits()
    return TensorDataset(images[:count], labels[:count])


def _folds(data, count):
    everything = torch.arange(len(data))
    for fold in range(count):
        held = everything[fold::count]
        kept = everything[everything % count != fold]
        yield (
            DataLoader(Subset(data, kept.tolist()), 50, shuffle=True),
            DataLoader(Subset(data, held.tolist()), 100),
        )


@fault(healthy.k_folds, "validation_is_untouched", words=("share one model",))
def five_folds_of_one_reader():
    model = Reader()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for train, test in _folds(_images(), 5):
        _train(model, optimizer, train)
        evaluate(model, test)


@fault(healthy.k_folds, "validation_is_untouched", words=("share one model",))
def folds_with_an_optimizer_each_and_one_model():
    model = Net()
    for train, test in _folds(_images(), 3):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        for _ in range(3):
            _train(model, optimizer, train)
            evaluate(model, test)


@fault(healthy.k_folds, "validation_is_untouched", words=("share one model",))
def folds_of_regression_scored_on_both_parts():
    rows, target = diabetes()
    model = mlp(10, 16, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for train, test in _folds(TensorDataset(rows, target), 4):
        for _ in range(2):
            _train(model, optimizer, train, F.mse_loss)
        model.eval()
        with torch.no_grad():
            for loader in (train, test):
                for x, _y in loader:
                    model(x)


@fault(train_classifier, "validation_is_untouched", words=("drawn anew",))
def split_drawn_anew_each_epoch():
    data = _images()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(4):
        train, test = random_split(data, [0.8, 0.2])
        _train(model, optimizer, DataLoader(train, 50, shuffle=True))
        evaluate(model, DataLoader(test, 60))


# -- healthy neighbours ---------------------------------------------------------------------------


def folds_that_put_the_parameters_back():
    model = Reader()
    start = copy.deepcopy(model.state_dict())
    for train, test in _folds(_images(), 4):
        model.load_state_dict(start)
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        _train(model, optimizer, train)
        evaluate(model, test)


def folds_that_draw_the_parameters_anew():
    model = mlp(10, 16, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    rows, target = diabetes()
    for train, test in _folds(TensorDataset(rows, target), 4):
        for layer in model:
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
        _train(model, optimizer, train, F.mse_loss)
        model.eval()
        with torch.no_grad():
            for x, _y in test:
                model(x)


def tasks_that_follow_each_other():
    images, labels = digits()
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    tasks = []
    for first in (0, 2, 4, 6):
        own = ((labels == first) | (labels == first + 1)).nonzero().squeeze(1).tolist()
        tasks.append(Subset(TensorDataset(images, labels), own))
        for _ in range(2):
            _train(model, optimizer, DataLoader(tasks[-1], 32, shuffle=True))
        for task in tasks:
            evaluate(model, DataLoader(task, 64))


def easy_samples_first():
    images, labels = digits()
    data = TensorDataset(images[:900], labels[:900])
    easy = images[:900].flatten(1).std(1).argsort().tolist()
    model = Reader()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for share in (0.3, 0.6, 1.0):
        part = Subset(data, easy[: int(share * 900)])
        _train(model, optimizer, DataLoader(part, 50, shuffle=True))
        evaluate(model, DataLoader(data, 100))


def forward_in_time():
    rows, target = diabetes()
    model = mlp(10, 16, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for end in (150, 220, 290, 360):
        for _ in range(2):
            for i in torch.randperm(end).split(30):
                optimizer.zero_grad()
                F.mse_loss(model(rows[i]), target[i]).backward()
                optimizer.step()
        model.eval()
        with torch.no_grad():
            for x in rows[end : end + 70].split(35):
                model(x)
        model.train()


def samples_asked_for_where_it_is_unsure():
    rows, labels = tumours()
    model = mlp(30, 16, 1)
    known = list(range(100))
    for _ in range(4):
        optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
        for _ in range(2):
            for i in torch.tensor(known)[torch.randperm(len(known))].split(20):
                optimizer.zero_grad()
                F.binary_cross_entropy_with_logits(model(rows[i]).squeeze(1), labels[i]).backward()
                optimizer.step()
        pool = [i for i in range(569) if i not in known]
        with torch.no_grad():
            model.eval()
            doubt = torch.cat([model(rows[i]).abs().squeeze(1) for i in torch.tensor(pool).split(50)])
            model.train()
        known += [pool[j] for j in doubt.argsort()[:60].tolist()]


def hard_samples_again():
    data = _images()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    chosen = list(range(len(data)))
    for _ in range(4):
        _train(model, optimizer, DataLoader(Subset(data, chosen), 50, shuffle=True))
        model.eval()
        with torch.no_grad():
            losses = [F.cross_entropy(model(x), y, reduction="none") for x, y in DataLoader(data, 100)]
        chosen = torch.cat(losses).argsort(descending=True)[:600].tolist()


QUIET = [
    folds_that_put_the_parameters_back,
    folds_that_draw_the_parameters_anew,
    tasks_that_follow_each_other,
    easy_samples_first,
    forward_in_time,
    samples_asked_for_where_it_is_unsure,
    hard_samples_again,
]
"""None of them may raise an alarm."""
