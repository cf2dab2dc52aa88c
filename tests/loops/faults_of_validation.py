"""Loops that spoil their own validation, beside the healthy loop that differs in nothing else."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, TensorDataset

from . import healthy
from .data import digits, loaders, tumours
from .faults import fault, train_classifier
from .healthy import Net, evaluate, mlp


@fault(train_classifier, "validation_is_untouched", words=("trained on",))
def trains_on_the_validation_loader_too():
    train, test = loaders()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(3):
        model.train()
        for loader in (train, test):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        evaluate(model, test)


@fault(train_classifier, "validation_is_untouched", words=("validation loop trains",))
def validation_loop_that_steps():
    train, test = loaders()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def run(loader):
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()

    for _ in range(3):
        model.train()
        run(train)
        model.eval()
        run(test)


@fault(train_classifier, "validation_is_untouched", words=("validation loop calls step",))
def optimizer_stepped_during_validation():
    train, test = loaders()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(2):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            for x, y in test:
                F.cross_entropy(model(x), y)
                optimizer.step()


@fault(healthy.tuple_of_tensors_by_hand, "validation_is_untouched", words=("split",))
def test_split_cut_from_what_is_trained_on():
    rows, labels = tumours()
    test = rows[-150:], labels[-150:]
    model = mlp(30, 16, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(4):
        model.train()
        for i in torch.randperm(len(rows)).split(32):
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(model(rows[i]).squeeze(1), labels[i]).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            model(test[0])


@fault(train_classifier, "validation_is_untouched", words=("no_grad",), advice=True)
def validation_with_gradients_on():
    def validate(model, loader):
        model.eval()
        return sum((model(x).argmax(1) == y).sum().item() for x, y in loader)

    train_classifier(after_epoch=validate)


@fault(train_classifier, "modes_are_right", words=("eval()",))
def validation_with_gradients_and_dropout_on():
    def validate(model, loader):
        return sum((model(x).argmax(1) == y).sum().item() for x, y in loader)

    train_classifier(after_epoch=validate)


@fault(train_classifier, "validation_is_untouched", words=("left out",))
def test_loader_that_is_shuffled_and_truncated():
    train, _ = loaders()
    images, labels = digits()
    test = DataLoader(
        TensorDataset(images[1000:1500], labels[1000:1500]), 64, shuffle=True, drop_last=True
    )
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(2):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        evaluate(model, test)


@fault(healthy.ema_and_swa, "validated_model_is_trained", words=("never updated", "stands still"))
def average_that_is_never_updated():
    train, test = loaders()
    model = Net()
    ema = AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(3):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        evaluate(ema, test)


@fault(healthy.ema_and_swa, "validated_model_is_trained", words=("stands still",))
def average_of_the_wrong_model():
    train, test = loaders()
    model = Net()
    start = copy.deepcopy(model)
    ema = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(3):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            with torch.no_grad():
                for a, b in zip(ema.parameters(), start.parameters(), strict=True):
                    a.lerp_(b, 0.1)
        evaluate(ema, test)


@fault(healthy.ema_and_swa, "optimizer_persists", words=("other parameters",))
def average_that_is_trained_instead():
    train, test = loaders()
    model = Net()
    ema = AveragedModel(model)
    optimizer = torch.optim.SGD(ema.parameters(), lr=0.05)
    for _ in range(2):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        evaluate(model, test)


# -- rows of numbers that are scaled by what is known of them ----------------------------------------


def _scaled(rows, by):
    return (rows - by.mean(0)) / by.std(0)


def _halves(seed):
    order = torch.randperm(569, generator=torch.Generator().manual_seed(seed))
    return order[:400], order[400:]


def _scored(train, test, epochs=6, *, freezes=False):
    model = mlp(30, 16, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(epochs):
        model.train()
        for x, y in DataLoader(TensorDataset(*train), 32, shuffle=True):
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(model(x).squeeze(1), y).backward()
            optimizer.step()
        model.eval().requires_grad_(not freezes)
        with torch.no_grad():
            for x, _ in DataLoader(TensorDataset(*test), 64):
                model(x)
        model.requires_grad_()


def _part(seed, which):
    """One half of a split that is drawn here, scaled by its training half."""
    rows, labels = tumours()
    halves = _halves(seed)
    return _scaled(rows[halves[which]], rows[halves[0]]), labels[halves[which]]


def split_drawn_once():
    _scored(_part(0, 0), _part(0, 1))


@fault(split_drawn_once, "validation_is_untouched", words=("the split is drawn twice",))
def split_drawn_again_for_the_test():
    _scored(_part(0, 0), _part(1, 1))


def split_drawn_once_and_scored_by_a_frozen_model():
    _scored(_part(0, 0), _part(0, 1), freezes=True)


@fault(
    split_drawn_once_and_scored_by_a_frozen_model,
    "validation_is_untouched",
    words=("the split is drawn twice",),
)
def split_drawn_again_and_scored_by_a_frozen_model():
    _scored(_part(0, 0), _part(1, 1), freezes=True)


@fault(split_drawn_once, "validation_is_untouched", words=("the split is drawn twice",))
def split_drawn_again_and_scaled_by_itself():
    rows, labels = tumours()
    test = rows[_halves(1)[1]]
    _scored(_part(0, 0), (_scaled(test, test), labels[_halves(1)[1]]))


def folds_that_are_scaled_by_themselves():
    """Each has a model and a scaler of its own."""
    rows, labels = tumours()
    for fold in torch.randperm(569).split(143):
        kept = torch.ones(569, dtype=torch.bool)
        kept[fold] = False
        train = _scaled(rows[kept], rows[kept]), labels[kept]
        _scored(train, (_scaled(rows[fold], rows[kept]), labels[fold]), epochs=3)


def halves_that_are_scaled_by_themselves():
    rows, labels = tumours()
    one, other = ((_scaled(rows[half], rows[half]), labels[half]) for half in _halves(0))
    _scored(one, other)


def training_rows_that_are_scored_in_another_scale():
    """All of them: no split is drawn."""
    rows, labels = tumours()
    train = _scaled(rows, rows)
    _scored((train, labels), (1.2 * train + 0.3, labels))


def features_of_rows_that_they_were_learned_on():
    """A body is trained on all rows, as by others, and frozen; a new task splits the rows."""
    rows, labels = tumours()
    rows, (train, test) = _scaled(rows, rows), _halves(2)
    body, decoder = mlp(30, 24, 16), nn.Linear(16, 30)
    fit = torch.optim.Adam([*body.parameters(), *decoder.parameters()], lr=3e-3)
    for part in (part for _ in range(4) for part in torch.randperm(569).split(64)):
        fit.zero_grad()
        F.mse_loss(decoder(body(rows[part])), rows[part]).backward()
        fit.step()
    body.eval().requires_grad_(requires_grad=False)
    head = nn.Sequential(nn.Dropout(0.1), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(head.parameters(), lr=3e-3)
    for _ in range(6):
        head.train()
        for x, y in DataLoader(TensorDataset(rows[train], labels[train]), 32, shuffle=True):
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(head(body(x)).squeeze(1), y).backward()
            optimizer.step()
        head.eval()
        with torch.no_grad():
            head(body(rows[test]))


QUIET = (
    folds_that_are_scaled_by_themselves,
    halves_that_are_scaled_by_themselves,
    training_rows_that_are_scored_in_another_scale,
    features_of_rows_that_they_were_learned_on,
)
"""None of them may raise an alarm."""
