"""Loops whose targets stand in another order than their inputs, beside those in which both do."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.data import DataLoader, TensorDataset

from .data import diabetes, digits, loaders, tumours
from .faults import fault, train_classifier
from .healthy import Net, evaluate, mlp


def _train(compare, model=None, *, batch_size=64):
    train, test = loaders(batch_size)
    model = model or Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(2):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            compare(model, x, y).backward()
            optimizer.step()
        evaluate(model, test)


def _rows(data, compare, model):
    loader = DataLoader(TensorDataset(*data), 32, shuffle=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(3):
        for x, y in loader:
            optimizer.zero_grad()
            compare(model(x), y).backward()
            optimizer.step()


class RowByRow(nn.Module):
    """Says after the last row what digit an image may be."""

    def __init__(self):
        super().__init__()
        self.rows, self.head = nn.GRU(8, 24, batch_first=True), nn.Linear(24, 10)

    def forward(self, x):
        return self.head(self.rows(x.squeeze(1))[0][:, -1])


@fault(train_classifier, "targets_are_aligned", words=("in another order",))
def targets_rolled_by_one():
    _train(lambda model, x, y: F.nll_loss(model(x).log_softmax(1), y.roll(1)))


@fault(train_classifier, "targets_are_aligned", words=("in another order",))
def targets_shuffled_by_themselves():
    _train(lambda model, x, y: F.cross_entropy(model(x), y[torch.randperm(len(y))]), RowByRow())


@fault(train_classifier, "targets_are_aligned", words=("in another order",))
def targets_sorted():
    _train(lambda model, x, y: F.cross_entropy(model(x), y.sort().values), batch_size=32)


def regression():
    _rows(diabetes(), F.mse_loss, mlp(10, 32, 1))


def two_classes():
    _rows(tumours(), lambda out, y: F.binary_cross_entropy_with_logits(out[:, 0], y), mlp(30, 16, 1))


@fault(regression, "targets_are_aligned", words=("in another order",))
def quantities_flipped():
    _rows(diabetes(), lambda out, y: F.mse_loss(out, y.flip(0)), mlp(10, 32, 1))


@fault(two_classes, "targets_are_aligned", words=("in another order",))
def two_classes_shuffled():
    def compare(out, y):
        return F.binary_cross_entropy_with_logits(out, y[torch.randperm(len(y))].unsqueeze(1))

    _rows(tumours(), compare, mlp(30, 16, 1))


# -- language models ------------------------------------------------------------------------------


class Words(nn.Module):
    """Reads pixels as words and says what may follow."""

    def __init__(self, *, shifts=False):
        super().__init__()
        self.words, self.read, self.say = nn.Embedding(18, 16), nn.GRU(16, 32), nn.Linear(32, 17)
        self._shifts = shifts

    def forward(self, x):
        seen = F.pad(x[:-1], (0, 0, 1, 0), value=17) if self._shifts else x
        return self.say(self.read(self.words(seen))[0])


def _speak(pair, **how):
    text = (digits()[0].flatten(1) * 16).long().t().contiguous()
    model = Words(**how)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for columns in torch.randperm(text.shape[1]).split(32)[:30]:
        x, y = pair(text[:, columns])
        optimizer.zero_grad()
        F.cross_entropy(model(x).reshape(-1, 17), y.reshape(-1)).backward()
        optimizer.step()


def words_that_follow():
    _speak(lambda text: (text[:-1], text[1:]))


def shifted_by_the_model():
    _speak(lambda text: (text, text), shifts=True)


@fault(words_that_follow, "targets_are_aligned", words=("are shifted",), advice=True)
def words_not_shifted():
    _speak(lambda text: (text, text))


@fault(words_that_follow, "targets_are_aligned", words=("are shifted",), advice=True)
def both_shifted():
    _speak(lambda text: (text[1:], text[1:].clone()))


# -- healthy neighbours ---------------------------------------------------------------------------


def mixup():
    def compare(model, x, y):
        part, order = torch.distributions.Beta(0.4, 0.4).sample(), torch.randperm(len(x))
        out = model(part * x + (1 - part) * x[order])
        return part * F.cross_entropy(out, y) + (1 - part) * F.cross_entropy(out, y[order])

    _train(compare)


def cutmix_with_one_target():
    """Where the pasted part is most of the image, its label is the target."""

    def compare(model, x, y):
        order = torch.randperm(len(x))
        mixed = x.clone()
        mixed[:, :, 1:] = x[order][:, :, 1:]
        return F.cross_entropy(model(mixed), y[order])

    _train(compare)


def both_shuffled():
    def compare(model, x, y):
        order = torch.randperm(len(x))
        return F.cross_entropy(model(x[order]), y[order])

    _train(compare)


def hardest_first():
    """Outputs are sorted, and their targets with them."""

    def compare(model, x, y):
        out = model(x)
        order = F.cross_entropy(out, y, reduction="none").detach().argsort(descending=True)
        return F.cross_entropy(out[order], y[order])

    _train(compare)


class Packed(nn.Module):
    """Sorts a batch by length, and leaves it so."""

    def __init__(self):
        super().__init__()
        self.rows, self.head = nn.GRU(8, 24, batch_first=True), nn.Linear(24, 10)

    def forward(self, x):
        lengths = 8 - (x.squeeze(1).sum(2) == 0).long().sum(1)
        lengths, order = lengths.clamp(min=1).sort(descending=True)
        packed = pack_padded_sequence(x.squeeze(1)[order], lengths, batch_first=True)
        return self.head(self.rows(packed)[1][-1]), order


def sorted_by_length_inside():
    train, _ = loaders()
    model = Packed()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(2):
        for x, y in train:
            out, order = model(x)
            optimizer.zero_grad()
            F.cross_entropy(out, y[order]).backward()
            optimizer.step()


def quantiles_are_compared():
    """A distribution is learned: sorted outputs against sorted targets."""
    _rows(diabetes(), lambda out, y: F.mse_loss(out.sort(0).values, y.sort(0).values), mlp(10, 32, 1))


def against_others_as_well():
    """A margin to what other samples are."""

    def compare(model, x, y):
        out = model(x)
        others = F.cross_entropy(out, y[torch.randperm(len(y))])
        return F.cross_entropy(out, y) - 0.01 * others.clamp(max=3.0)

    _train(compare)


def one_class_a_batch():
    images, labels = digits()
    order = labels[:1000].argsort(stable=True)
    groups = [g for g in torch.split(order, 20) if len(set(labels[g].tolist())) == 1]
    loader = DataLoader(TensorDataset(images, labels), batch_sampler=[g.tolist() for g in groups])
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for x, y in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y[torch.randperm(len(y))]).backward()
        optimizer.step()


QUIET = [
    regression,
    two_classes,
    words_that_follow,
    shifted_by_the_model,
    mixup,
    cutmix_with_one_target,
    both_shuffled,
    hardest_first,
    sorted_by_length_inside,
    quantiles_are_compared,
    against_others_as_well,
    one_class_a_batch,
]
"""None of them may raise an alarm."""
