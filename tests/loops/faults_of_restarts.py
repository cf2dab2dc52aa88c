"""Loops that read two loaders, one of them begun anew for every batch, by mistake or on purpose."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from .data import diabetes, digits, tumours
from .faults import fault
from .healthy import mlp


def _loader(rows, targets, size=32, *, shuffle=False):
    return DataLoader(TensorDataset(rows, targets), size, shuffle=shuffle)


def _new_and_old_digits():
    images, labels = digits()
    is_old = labels < 5
    old = _loader(images[is_old], labels[is_old])
    return _loader(images[~is_old], labels[~is_old], shuffle=True), old


def _rehearsing(remembered, *, epochs=2):
    """New classes are learned while the old ones are rehearsed, in one batch."""
    new, old = _new_and_old_digits()
    model = nn.Sequential(nn.Flatten(), mlp(64, 48, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    recall = remembered(old)
    for _ in range(epochs):
        for x, y in new:
            before, truth = next(recall)
            optimizer.zero_grad()
            F.cross_entropy(model(torch.cat([x, before])), torch.cat([y, truth])).backward()
            optimizer.step()


def rehearsal_that_goes_on():
    _rehearsing(lambda old: itertools.chain.from_iterable(itertools.repeat(old)))


@fault(rehearsal_that_goes_on, "batches_are_fresh", words=("it gives the same batch, its first",))
def rehearsal_of_the_first_batch():
    _rehearsing(lambda old: (next(iter(old)) for _ in itertools.count()))


def _two_tables(read):
    """One trunk, two heads, and two losses that are propagated one after the other."""
    cells, kinds = tumours()
    rows, target = diabetes()
    first = _loader(cells[:, :10], kinds[:, None], 40, shuffle=True)
    trunk, kind, value = mlp(10, 32, 16), nn.Linear(16, 1), nn.Linear(16, 1)
    parameters = itertools.chain(*(m.parameters() for m in (trunk, kind, value)))
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    second = read(_loader(rows, target, 24))
    for _ in range(3):
        for x, y in first:
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(kind(trunk(x)), y).backward()
            more, truth = next(second)
            F.mse_loss(value(trunk(more)), truth).backward()
            optimizer.step()


def tables_read_side_by_side():
    _two_tables(itertools.cycle)


@fault(tables_read_side_by_side, "batches_are_fresh", words=("next(iter(loader)) inside the loop",))
def second_table_begun_anew():
    _two_tables(lambda loader: (next(iter(loader)) for _ in itertools.count()))


class Stream(IterableDataset):
    """Digits in chunks, in the order that they were logged in."""

    def __init__(self, count=1200, size=40):
        self.images, self.labels = (part[:count] for part in digits())
        self.size = size

    def __iter__(self):
        yield from zip(self.images.split(self.size), self.labels.split(self.size), strict=True)


def _streaming(batches, **kind):
    model = nn.Sequential(nn.Flatten(), mlp(64, 48, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    drawn = batches(DataLoader(Stream(**kind), batch_size=None))
    for x, y in itertools.islice(drawn, 60):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


def a_stream_that_is_read_on():
    _streaming(itertools.cycle)


@fault(a_stream_that_is_read_on, "batches_are_fresh", words=("next(iter(loader)) inside the loop",))
def a_stream_begun_anew():
    _streaming(lambda loader: (next(iter(loader)) for _ in itertools.count()))


# -- healthy neighbours ---------------------------------------------------------------------------


def _beside(look, other):
    images, labels = digits()
    train = _loader(images[:800], labels[:800], shuffle=True)
    model = nn.Sequential(nn.Flatten(), mlp(64, 48, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(2):
        for x, y in train:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            more = look(model, other)
            (loss if more is None else loss + more).backward()
            optimizer.step()


def _held_out(**kind):
    images, labels = digits()
    return _loader(images[1000:1400], labels[1000:1400], **kind)


def _on_the_first(model, loader):
    x, y = next(iter(loader))
    return F.cross_entropy(model(x), y)


def the_same_pictures_looked_at_in_each_step():
    def look(model, loader):
        with torch.no_grad():
            _on_the_first(model, loader)

    _beside(look, _held_out())


def a_stream_of_one_chunk():
    _streaming(lambda loader: itertools.chain.from_iterable(itertools.repeat(loader)), size=1200)


def a_loss_of_other_data_that_is_only_printed():
    def look(model, loader):
        _on_the_first(model, loader).item()

    _beside(look, _held_out())


def another_first_batch_each_time():
    _beside(_on_the_first, _held_out(shuffle=True))


def all_of_a_small_set_in_each_step():
    _beside(_on_the_first, _held_out(size=400))


def a_second_loader_begun_anew_for_every_epoch():
    images, labels = digits()
    train = _loader(images[:800], labels[:800], shuffle=True)
    model = nn.Sequential(nn.Flatten(), mlp(64, 48, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(12):
        for (x, y), (other, truth) in zip(train, _held_out(), strict=False):
            optimizer.zero_grad()
            (F.cross_entropy(model(x), y) + F.cross_entropy(model(other), truth)).backward()
            optimizer.step()


def how_alike_the_gradients_of_held_out_rows_are():
    """Told in each step, of the same rows; they train nothing."""
    held_out = _held_out()
    alike = []

    def look(model, loader):
        ways = torch.autograd.grad(_on_the_first(model, loader), list(model.parameters()))
        alike.append(sum(each.square().sum().item() for each in ways))

    _beside(look, held_out)
    assert len(alike) == 50


class Curves(torch.utils.data.Dataset):
    """Every one is told at the same places, which come first."""

    def __init__(self, count):
        self.places, self.bends = torch.linspace(0, 1, 40)[:, None], torch.randn(count, 3)

    def __len__(self):
        return len(self.bends)

    def __getitem__(self, index):
        bends = self.bends[index]
        return self.places, bends, bends[0] * torch.sin(6 * self.places) + bends[1]


class Operator(nn.Module):
    """Tells a curve's height at places, by products of two networks' features."""

    def __init__(self):
        super().__init__()
        self.trunk, self.branch = mlp(1, 32, 16), mlp(3, 32, 16)

    def forward(self, places, bends):
        return torch.einsum("bnk,bk->bn", self.trunk(places), self.branch(bends)).unsqueeze(-1)


def curves_that_begin_with_the_same_places():
    many, few = (DataLoader(Curves(n), size, shuffle=True) for n, size in ((640, 32), (100, 16)))
    model = Operator()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(2):
        for places, bends, heights in many:
            there, others, wanted = next(iter(few))
            optimizer.zero_grad()
            loss = F.mse_loss(model(places, bends), heights) + F.mse_loss(model(there, others), wanted)
            loss.backward()
            optimizer.step()


QUIET = [
    a_stream_of_one_chunk,
    how_alike_the_gradients_of_held_out_rows_are,
    curves_that_begin_with_the_same_places,
    the_same_pictures_looked_at_in_each_step,
    a_loss_of_other_data_that_is_only_printed,
    another_first_batch_each_time,
    all_of_a_small_set_in_each_step,
    a_second_loader_begun_anew_for_every_epoch,
]
