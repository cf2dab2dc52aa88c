"""Loops whose evaluation leaves out a part of the held-out data, by mistake or because it must."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from .data import diabetes, digits, tumours
from .faults import fault
from .healthy import evaluate, mlp

TRAINING = {"shuffle": True, "drop_last": True}
"""The options of a loader for training."""


class Regression:
    """Keeps its loaders, as trainers do, and scores all of what one gives."""

    def __init__(self, **options):
        rows, target = diabetes()
        self.model = mlp(10, 32, 1)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.02, momentum=0.9)
        self.train_dl = DataLoader(TensorDataset(rows[:300], target[:300]), 30, shuffle=True)
        self.valid_dl = DataLoader(TensorDataset(rows[300:], target[300:]), 60, **options)

    def fit(self, epochs=4):
        for _ in range(epochs):
            self.model.train()
            for rows, target in self.train_dl:
                self.optimizer.zero_grad()
                F.smooth_l1_loss(self.model(rows), target).backward()
                self.optimizer.step()
            self.score()

    def score(self):
        self.model.eval()
        with torch.no_grad():
            return [F.mse_loss(self.model(rows), target).item() for rows, target in self.valid_dl]


def regression_scored_on_all():
    Regression().fit()


@fault(regression_scored_on_all, "validation_is_untouched", words=("are left out of each",))
def regression_scored_on_another_part_each_time():
    Regression(**TRAINING).fit()


def _readings(count):
    """Sequences of 12 readings, and which of three machines they are of."""
    machine = torch.arange(count) % 3
    times = torch.arange(12) * (1 + machine[:, None]) / 4 + torch.rand(count, 1)
    return torch.sin(times)[..., None] + 0.2 * torch.randn(count, 12, 1), machine


class Recogniser(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.GRU(1, 16, batch_first=True), nn.Linear(16, 3)

    def forward(self, readings, state=None):
        states, last = self.rnn(readings, state)
        return self.head(states[:, -1]), last


def _machines(options, *, fixed=0):
    """The test set is one batch and more; a model may be given a state for so many samples."""
    train = DataLoader(TensorDataset(*_readings(480)), 48, **TRAINING)
    held_out = {"test": DataLoader(TensorDataset(*_readings(70)), 48, **options)}
    model = Recogniser()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    state = [torch.zeros(1, fixed, 16)] if fixed else []
    for _ in range(3):
        model.train()
        for readings, machine in train:
            optimizer.zero_grad()
            F.cross_entropy(model(readings, *state)[0], machine).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            for readings, machine in held_out["test"]:
                (model(readings, *state)[0].argmax(1) == machine).sum().item()


def machines_told_apart():
    _machines({})


@fault(machines_told_apart, "validation_is_untouched", words=("are left out of each",))
def machines_told_apart_in_one_batch_of_more():
    _machines(TRAINING)


# -- healthy neighbours ---------------------------------------------------------------------------


def states_for_so_many_samples():
    """Its state has the size of a whole batch: no smaller one can be asked about."""
    _machines(TRAINING, fixed=48)


def _classify(epochs=3, model=None, validate=evaluate, compare=None, **options):
    rows, labels = tumours()
    train_loader = DataLoader(TensorDataset(rows[:400], labels[:400].long()), 32, shuffle=True)
    val_loader = DataLoader(
        TensorDataset(rows[400:], labels[400:].long()), **{"batch_size": 64, **options}
    )
    model = model or mlp(30, 16, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(epochs):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            (compare or F.cross_entropy)(model(x), y).backward()
            optimizer.step()
        validate(model, val_loader)


def _few(model, loader, count=1):
    model.eval()
    with torch.no_grad():
        for x, y in itertools.islice(loader, count):
            F.cross_entropy(model(x), y).item()


def a_random_batch_to_look_at_meanwhile():
    """It is the only whole batch of its loader."""
    _classify(validate=_few, batch_size=128, **TRAINING)


def a_few_random_batches_to_look_at_meanwhile():
    _classify(validate=lambda model, loader: _few(model, loader, 3), batch_size=32, **TRAINING)


def one_sample_of_many_left_out():
    _classify(batch_size=84, **TRAINING)


def a_random_part_of_its_size_each_time():
    rows, labels = tumours()
    held_out = TensorDataset(rows[400:], labels[400:].long())
    val_loader = DataLoader(
        held_out, 32, sampler=RandomSampler(held_out, num_samples=100), drop_last=True
    )
    _classify(validate=lambda model, _: evaluate(model, val_loader))


def averaged_over_five_random_passes():
    """What one pass leaves out another one scores: the mean over all of them is that of each sample."""

    def validate(model, loader):
        model.eval()
        with torch.no_grad():
            return [F.cross_entropy(model(x), y).item() for _ in range(5) for x, y in loader]

    _classify(validate=validate, **TRAINING)


def scored_on_a_part_once_in_the_end():
    _classify(epochs=1, **TRAINING)


def what_is_trained_on_is_scored_meanwhile():
    rows, labels = tumours()
    train_data = TensorDataset(rows[:500], labels[:500].long())
    loader = DataLoader(train_data, 48, **TRAINING)
    model = mlp(30, 16, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(3):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        evaluate(model, loader)


class Halves(nn.Module):
    """How well each left half of an image goes with each right one."""

    def __init__(self):
        super().__init__()
        self.left, self.right = mlp(32, 64, 16), mlp(32, 64, 16)

    def forward(self, left, right):
        return F.normalize(self.left(left), dim=1) @ F.normalize(self.right(right), dim=1).T / 0.1


def pairs_found_again_among_whole_batches():
    """The more of them are in a batch, the harder they are to match."""
    images = digits()[0]
    left, right = images[..., :4].flatten(1), images[..., 4:].flatten(1)
    train_loader = DataLoader(TensorDataset(left[:1200], right[:1200]), 64, **TRAINING)
    val_loader = DataLoader(TensorDataset(left[1200:], right[1200:]), 128, **TRAINING)
    model = Halves()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(3):
        model.train()
        for one, other in train_loader:
            optimizer.zero_grad()
            F.cross_entropy(model(one, other), torch.arange(len(one))).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            for one, other in val_loader:
                F.cross_entropy(model(one, other), torch.arange(len(one))).item()


def classes_that_lie_apart_within_a_batch():
    """Samples of a class are drawn together, by all others of their batch."""

    def compare(places, labels):
        places = F.normalize(places, dim=1)
        alike = (labels[:, None] == labels) & ~torch.eye(len(labels), dtype=torch.bool)
        near = (places @ places.T / 0.2).masked_fill(torch.eye(len(labels), dtype=torch.bool), -1e9)
        return -(near.log_softmax(1) * alike).sum(1).div(alike.sum(1).clamp(min=1)).mean()

    def validate(model, loader):
        model.eval()
        with torch.no_grad():
            for x, y in loader:
                compare(model(x), y).item()

    _classify(model=mlp(30, 32, 8), compare=compare, validate=validate, **TRAINING)


def classes_whose_samples_find_each_other():
    """Trained sample by sample, scored by whose neighbour in the batch is of its class."""
    images, labels = digits()
    train_loader = DataLoader(TensorDataset(images[:1200].flatten(1), labels[:1200]), 64, **TRAINING)
    val_loader = DataLoader(TensorDataset(images[1200:].flatten(1), labels[1200:]), 128, **TRAINING)
    model, head = mlp(64, 48, 16), nn.Linear(16, 10)
    optimizer = torch.optim.Adam([*model.parameters(), *head.parameters()], lr=2e-3)
    for _ in range(3):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            F.cross_entropy(head(model(x)), y).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            for x, y in val_loader:
                places = F.normalize(model(x), dim=1)
                near = (places @ places.T).fill_diagonal_(-1).argmax(1)
                (y[near] == y).float().mean().item()


def _follows(one, other):
    return torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1].item()


def regression_scored_by_what_goes_together():
    """Of a few samples no correlation can be told."""

    class Correlated(Regression):
        def score(self):
            self.model.eval()
            with torch.no_grad():
                return [_follows(self.model(rows), target) for rows, target in self.valid_dl]

    Correlated(**TRAINING).fit()


QUIET = [
    averaged_over_five_random_passes,
    classes_whose_samples_find_each_other,
    regression_scored_by_what_goes_together,
    states_for_so_many_samples,
    a_random_batch_to_look_at_meanwhile,
    a_few_random_batches_to_look_at_meanwhile,
    one_sample_of_many_left_out,
    a_random_part_of_its_size_each_time,
    scored_on_a_part_once_in_the_end,
    what_is_trained_on_is_scored_meanwhile,
    pairs_found_again_among_whole_batches,
    classes_that_lie_apart_within_a_batch,
]
