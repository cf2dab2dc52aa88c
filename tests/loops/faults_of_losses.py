"""Loops whose loss is given something else than it is made for, beside healthy ones that look alike."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from .data import digits, loaders, tumours
from .faults import fault, train_classifier
from .healthy import Net, evaluate


class Rows(nn.Module):
    """Reads an image row by row, and says after each what digit it may be."""

    def __init__(self):
        super().__init__()
        self.rows, self.head = nn.GRU(8, 24, batch_first=True), nn.Linear(24, 10)

    def forward(self, x):
        return self.head(self.rows(x.squeeze(1))[0])


def _train(model, compare, *, epochs=2, rate=3e-3):
    train, test = loaders()
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for _ in range(epochs):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            compare(model(x), y).backward()
            optimizer.step()
        evaluate(model, test)


def _tell_tumours(compare, last=None):
    rows, labels = tumours()
    loader = DataLoader(TensorDataset(rows, labels), 32, shuffle=True)
    layers = [nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1)]
    model = nn.Sequential(*layers, *([last] if last else []))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(3):
        for x, y in loader:
            optimizer.zero_grad()
            compare(model(x).squeeze(1), y).backward()
            optimizer.step()


@fault(train_classifier, "loss_is_sound", words=("softmax is applied twice",))
def softmax_at_the_models_end():
    _train(nn.Sequential(Net(), nn.Softmax(1)), F.cross_entropy)


@fault(train_classifier, "loss_is_sound", words=("softmax is applied twice",))
def softmax_in_the_loop_and_losses_of_micro_batches():
    train, _ = loaders(16)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for i, (x, y) in enumerate(train):
        (nn.CrossEntropyLoss()(model(x).softmax(-1), y) / 4).backward()
        if (i + 1) % 4 == 0:
            optimizer.step()
            optimizer.zero_grad()


@fault(train_classifier, "loss_is_sound", words=("softmax where log_softmax is meant",))
def softmax_for_log_softmax():
    _train(nn.Sequential(Net(), nn.Softmax(1)), F.nll_loss)


@fault(train_classifier, "loss_is_sound", words=("softmax over axis 0",))
def log_softmax_over_the_batch():
    _train(Net(), lambda out, y: F.nll_loss(F.log_softmax(out, 0), y))


@fault(train_classifier, "loss_is_sound", words=("softmax is applied twice",))
def softmax_after_each_row():
    def compare(out, y):
        return F.cross_entropy(out.softmax(-1).transpose(1, 2), y[:, None].expand(-1, 8))

    _train_rows(compare)


def _train_rows(compare):
    images, labels = digits()
    loader = DataLoader(TensorDataset(images[:1000], labels[:1000]), 64, shuffle=True)
    model = Rows()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(2):
        for x, y in loader:
            optimizer.zero_grad()
            compare(model(x), y).backward()
            optimizer.step()


def each_row_is_compared():
    _train_rows(lambda out, y: F.cross_entropy(out.transpose(1, 2), y[:, None].expand(-1, 8)))


def log_probabilities_of_rows():
    _train_rows(lambda out, y: F.nll_loss(out[:, -1].log_softmax(-1), y))


@fault(each_row_is_compared, "loss_is_sound", words=("another axis than that of the classes",))
def log_softmax_along_the_rows():
    def compare(out, y):
        return F.nll_loss(out.log_softmax(1).reshape(-1, 10), y.repeat_interleave(8))

    _train_rows(compare)


def binary_logits():
    _tell_tumours(F.binary_cross_entropy_with_logits)


@fault(binary_logits, "loss_is_sound", words=("a sigmoid before a loss",))
def sigmoid_before_logits():
    _tell_tumours(F.binary_cross_entropy_with_logits, nn.Sigmoid())


def binary_probabilities():
    _tell_tumours(F.binary_cross_entropy, nn.Sigmoid())


def log_of_probabilities():
    _train(nn.Sequential(Net(), nn.Softmax(1)), lambda p, y: F.nll_loss((p + 1e-6).log(), y))


def log_softmax_once_too_often():
    _train(nn.Sequential(Net(), nn.LogSoftmax(1)), F.cross_entropy)


def distances_to_prototypes():
    places = torch.eye(10)
    _train(Net(), lambda out, y: F.nll_loss(F.log_softmax(-torch.cdist(out, places), 1), y))


def weighted_log_probabilities():
    """As policies are trained: each action's log-probability times what it was worth."""

    def compare(out, y):
        worth = 0.5 + torch.rand(len(y), 1)
        return F.nll_loss(out.log_softmax(1) * worth, y)

    _train(Net(), compare)


def sharpened_votes():
    """A softmax that is made logits again."""
    _train(Net(), lambda out, y: F.cross_entropy(10 * out.softmax(1), y))


def squared_probabilities():
    _train(Net(), lambda out, y: F.mse_loss(out.softmax(1), F.one_hot(y, 10).float()))


def some_labels_are_missing():
    def compare(out, y):
        return F.cross_entropy(out, y.where(torch.rand(len(y)) > 0.2, -100), label_smoothing=0.1)

    _train(Net(), compare)


def _count_ink(loss, last=None):
    """How many pixels of an image are dark."""
    images = digits()[0][:1000].flatten(1)
    counts = (images > images.mean()).sum(1).float()
    layers = [nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1)]
    model = nn.Sequential(*layers, *([last] if last else []))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(2):
        for x, count in DataLoader(TensorDataset(images, counts), 32, shuffle=True):
            optimizer.zero_grad()
            loss(model(x).squeeze(1), count).backward()
            optimizer.step()


def counts_of_log_rates():
    _count_ink(nn.PoissonNLLLoss())


def counts_of_rates():
    _count_ink(nn.PoissonNLLLoss(log_input=False), nn.Softplus())


@fault(counts_of_rates, "loss_is_sound", words=("log_input=True exponentiates",))
def rates_taken_for_their_logarithms():
    _count_ink(nn.PoissonNLLLoss(), nn.Softplus())


QUIET = [
    each_row_is_compared,
    log_probabilities_of_rows,
    binary_logits,
    binary_probabilities,
    log_of_probabilities,
    log_softmax_once_too_often,
    distances_to_prototypes,
    weighted_log_probabilities,
    sharpened_votes,
    squared_probabilities,
    some_labels_are_missing,
    counts_of_log_rates,
]
