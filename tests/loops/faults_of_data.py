"""Loops whose data change as they are read, lose their labels, or are cut by class; healthy ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from .data import diabetes, digits
from .faults import fault
from .healthy import evaluate, mlp


class Images(Dataset):
    """Digits, and what is done to each as it is read."""

    def __init__(self, change, count=320):
        images, self.labels = digits()
        self.images, self.change = images[:count].clone(), change

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.change(self, index), self.labels[index]


def _classifier():
    return nn.Sequential(nn.Flatten(), mlp(64, 24, 10))


def _read(data, *, test=None, epochs=4):
    loader, model = DataLoader(data, 32, shuffle=True), _classifier()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(epochs):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        if test is not None:
            evaluate(model, test)


def noise_on_a_copy():
    _read(Images(lambda data, i: data.images[i] + 0.1 * torch.randn(1, 8, 8)))


@fault(noise_on_a_copy, "batches_are_fresh", words=("edits Images.images in place",))
def noise_in_place():
    _read(Images(lambda data, i: data.images[i].add_(0.1 * torch.randn(1, 8, 8))))


@fault(noise_on_a_copy, "batches_are_fresh", words=("edits Images.images in place",))
def standardised_in_place_by_a_wrapper():
    class Standardised(Dataset):
        def __init__(self, base):
            self.base = base

        def __len__(self):
            return len(self.base)

        def __getitem__(self, index):
            image, label = self.base[index]
            pixels = image.numpy()
            pixels -= 0.3
            pixels /= 0.4
            return image, label

    _read(Standardised(Subset(Images(lambda data, i: data.images[i]), range(256))))


# -- inputs and targets that are shuffled by hand ---------------------------------------------------


def _by_hand(x, y, model, compare, size, shuffle, epochs=6):
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(epochs):
        x, y = shuffle(x, y)
        for a, b in zip(x.split(size), y.split(size), strict=True):
            optimizer.zero_grad()
            compare(model(a), b).backward()
            optimizer.step()


def _both(x, y):
    order = torch.randperm(len(x))
    return x[order], y[order]


def _inputs(x, y):
    return x[torch.randperm(len(x))], y


def mini_batches():
    images, labels = digits()
    _by_hand(images[:320], labels[:320], _classifier(), F.cross_entropy, 40, _both)


@fault(mini_batches, "targets_are_aligned", words=("shuffled without their targets",))
def mini_batches_without_labels():
    images, labels = digits()
    _by_hand(images[:320], labels[:320], _classifier(), F.cross_entropy, 40, _inputs)


def _held_back(x, y):
    """Mini-batches of 20 in a new order, each with the labels of the one before."""
    x, y = _both(x, y)
    return x, y.roll(20)


def small_batches():
    images, labels = digits()
    _by_hand(images[:320], labels[:320], _classifier(), F.cross_entropy, 20, _both)


@fault(small_batches, "targets_are_aligned", words=("as of the previous batch",))
def small_batches_with_the_labels_of_the_one_before():
    images, labels = digits()
    _by_hand(images[:320], labels[:320], _classifier(), F.cross_entropy, 20, _held_back)


def full_batch():
    _by_hand(*diabetes(), mlp(10, 16, 1), F.mse_loss, 442, _both, epochs=20)


@fault(full_batch, "targets_are_aligned", words=("shuffled without their targets",))
def full_batch_without_targets():
    _by_hand(*diabetes(), mlp(10, 16, 1), F.mse_loss, 442, _inputs, epochs=20)


class Patients(nn.Module):
    """Says how ill someone is from a sex and from numbers."""

    def __init__(self):
        super().__init__()
        self.sexes, self.rest = nn.Embedding(2, 4), mlp(13, 16, 1)

    def forward(self, sex, numbers):
        return self.rest(torch.cat([self.sexes(sex), numbers], 1))


def _of_two_inputs(shuffle):
    rows, target = diabetes()
    sex, numbers, model = (rows[:, 1] > 0).long(), torch.cat([rows[:, :1], rows[:, 2:]], 1), Patients()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(8):
        sex, numbers, target = shuffle(sex, numbers, target)
        for i in range(0, 442, 34):
            optimizer.zero_grad()
            cut = slice(i, i + 34)
            F.mse_loss(model(sex[cut], numbers[cut]), target[cut]).backward()
            optimizer.step()


def two_inputs():
    def shuffle(sex, numbers, target):
        order = torch.randperm(442)
        return sex[order], numbers[order], target[order]

    _of_two_inputs(shuffle)


@fault(two_inputs, "targets_are_aligned", words=("shuffled without their targets",))
def two_inputs_without_targets():
    def shuffle(sex, numbers, target):
        order = torch.randperm(442)
        return sex[order], numbers[order], target

    _of_two_inputs(shuffle)


class Asked(nn.Module):
    """Says of a row how near it is to a goal."""

    def __init__(self):
        super().__init__()
        self.rest = mlp(11, 16, 1)

    def forward(self, row, goal):
        return self.rest(torch.cat([row, goal], 1))


def goals_of_every_row():
    """A row is asked about one goal and another, each with a target of its own: both tell them apart."""
    rows, target = diabetes()
    asked = Asked()
    optimizer = torch.optim.Adam(asked.parameters(), lr=3e-3)
    for epoch in range(8):
        order = torch.randperm(442)
        goals = torch.full((442, 1), epoch % 4 / 4)
        wanted = target[(torch.arange(442) + epoch % 4) % 442]
        for part in order.split(34):
            optimizer.zero_grad()
            F.mse_loss(asked(rows[part], goals[part]), wanted[part]).backward()
            optimizer.step()


# -- data that are cut ------------------------------------------------------------------------------


def _cut(order, count):
    images, labels = (part[order] for part in digits())
    test = DataLoader(TensorDataset(images[1400:], labels[1400:]), 64)
    _read(TensorDataset(images[:count], labels[:count]), test=test, epochs=2)


def cut_after_shuffling():
    _cut(torch.randperm(1797), 1400)


@fault(cut_after_shuffling, "validation_is_untouched", words=("never saw (8, 9",), advice=True)
def cut_before_shuffling():
    _cut(digits()[1].argsort(stable=True), 1400)


# -- healthy neighbours -----------------------------------------------------------------------------


def augmentations_kept_for_a_look():
    def change(data, index):
        data.seen = getattr(data, "seen", torch.zeros(len(data), 64))
        data.seen[index] = (data.images[index] + 0.1 * torch.randn(1, 8, 8)).flatten()
        return data.seen[index].view(1, 8, 8)

    _read(Images(change))


def flipped_where_they_are():
    def change(data, index):
        if torch.rand(()) < 0.5:
            data.images[index] = data.images[index].flip(-1)
        return data.images[index]

    _read(Images(change))


def episodes_of_five_classes():
    images, labels = digits()
    groups = [images[:1000][labels[:1000] == digit] for digit in range(10)]
    model = nn.Sequential(nn.Flatten(), mlp(64, 24, 5))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(30):
        chosen = torch.randperm(10)[:5]
        x = torch.cat([groups[digit][torch.randperm(90)[:8]] for digit in chosen])
        optimizer.zero_grad()
        F.cross_entropy(model(x), torch.arange(5).repeat_interleave(8)).backward()
        optimizer.step()


def positives_are_the_inputs_themselves():
    """With dropout for augmentation: the targets are places, and stay."""
    images = digits()[0][:128].flatten(1)
    model = mlp(64, 24, 8, dropout=0.2)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(10):
        for x in images[torch.randperm(128)].split(32):
            one, other = (F.normalize(part, dim=1) for part in model(torch.cat([x, x])).chunk(2))
            optimizer.zero_grad()
            F.cross_entropy(one @ other.t() / 0.1, torch.arange(32)).backward()
            optimizer.step()


QUIET = [
    noise_on_a_copy,
    mini_batches,
    full_batch,
    two_inputs,
    goals_of_every_row,
    cut_after_shuffling,
    augmentations_kept_for_a_look,
    flipped_where_they_are,
    episodes_of_five_classes,
    positives_are_the_inputs_themselves,
]
"""None of them may raise an alarm."""
