"""Loops on windows of a text or a series: held-out ones overlap those trained on, and sound ones."""

from __future__ import annotations

import inspect
import statistics

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset, random_split

from .faults import fault

STEPS = 32


class Reader(nn.Module):
    """Tells the next character of each place."""

    def __init__(self, words):
        super().__init__()
        self.embed = nn.Embedding(words, 24)
        self.memory = nn.GRU(24, 48, batch_first=True)
        self.head = nn.Linear(48, words)

    def forward(self, ids):
        return self.head(self.memory(self.embed(ids))[0])


def _text():
    text = inspect.getsource(statistics)[:30_000]
    letters = sorted(set(text))
    return torch.tensor([letters.index(letter) for letter in text]), len(letters)


def _drawn(ids, size=24):
    begins = torch.randint(0, len(ids) - STEPS - 1, (size,))
    rows = torch.stack([ids[i : i + STEPS + 1] for i in begins])
    return rows[:, :-1], rows[:, 1:]


def _loss(model, ids):
    x, y = _drawn(ids)
    return F.cross_entropy(model(x).flatten(0, 1), y.flatten())


def _read(train_ids, val_ids, words, *, scores_training=False):
    model = Reader(words)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    scored = []
    for step in range(200):
        loss = _loss(model, train_ids)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 49:
            model.eval()
            with torch.no_grad():
                scored.append(sum(_loss(model, val_ids).item() for _ in range(6)) / 6)
                if scores_training:
                    scored.append(sum(_loss(model, train_ids).item() for _ in range(6)) / 6)
            model.train()
    return scored


def text_cut_in_two():
    ids, words = _text()
    cut = int(0.85 * len(ids))
    _read(ids[:cut].clone(), ids[cut:].clone(), words)


@fault(text_cut_in_two, "validation_is_untouched", words=("overlap",))
def text_trained_on_whole():
    ids, words = _text()
    _read(ids, ids[int(0.85 * len(ids)) :].clone(), words)


def training_text_scored_too():
    ids, words = _text()
    cut = int(0.85 * len(ids))
    _read(ids[:cut].clone(), ids[cut:].clone(), words, scores_training=True)


def _read_in_order(part, *, until=12_000, stride=3):
    """All windows of the text, cut before they are split."""
    ids, words = _text()
    rows = ids[:until].unfold(0, STEPS + 1, stride)
    train, held_out = part(TensorDataset(rows[:, :-1], rows[:, 1:]), int(0.85 * len(rows)))
    train_loader, val_loader = DataLoader(train, 32, shuffle=True), DataLoader(held_out, 64)
    model = Reader(words)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(2):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x).flatten(0, 1), y.flatten()).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            losses = [F.cross_entropy(model(x).flatten(0, 1), y.flatten()) for x, y in val_loader]
    return sum(losses) / len(losses)


def windows_of_a_text_split_in_order():
    _read_in_order(lambda rows, n: (Subset(rows, range(n)), Subset(rows, range(n + 11, len(rows)))))


@fault(windows_of_a_text_split_in_order, "validation_is_untouched", words=("overlap",))
def windows_of_a_text_split_at_random():
    _read_in_order(lambda rows, n: random_split(rows, [n, len(rows) - n]))


def windows_that_overlap_by_half_split_in_order():
    _read_in_order(
        lambda rows, n: (Subset(rows, range(n)), Subset(rows, range(n + 1, len(rows)))),
        until=30_000,
        stride=STEPS // 2,
    )


@fault(
    windows_that_overlap_by_half_split_in_order,
    "validation_is_untouched",
    words=("overlap",),
)
def windows_that_overlap_by_half_split_at_random():
    """Of each there are but two neighbours, one of them with a beginning that it may end as."""
    _read_in_order(
        lambda rows, n: random_split(rows, [n, len(rows) - n]), until=30_000, stride=STEPS // 2
    )


def _forecast(parts, epochs=3):
    train_loader = DataLoader(parts[0], batch_size=32, shuffle=True)
    val_loader = DataLoader(parts[1], batch_size=64)
    model = nn.Sequential(nn.Linear(STEPS, 48), nn.ReLU(), nn.Linear(48, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(epochs):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            F.mse_loss(model(x), y).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            losses = [F.mse_loss(model(x), y).item() for x, y in val_loader]
    return sum(losses) / len(losses)


def _windows(series, stride=1):
    rows = series.unfold(0, STEPS + 1, stride)
    return TensorDataset(rows[:, :-1].clone(), rows[:, -1:].clone())


def _demand():
    """A season, a trend, and what nobody foresees."""
    hours = torch.arange(1500)
    return torch.sin(hours / 7) + hours / 1500 + 0.3 * torch.randn(1500)


def forecasts_split_in_time():
    """The first windows after the cut have their past in the training, as in use."""
    windows = _windows(_demand())
    _forecast((Subset(windows, range(1100)), Subset(windows, range(1100, len(windows)))))


@fault(forecasts_split_in_time, "validation_is_untouched", words=("overlap",))
def forecasts_split_at_random():
    windows = _windows(_demand())
    _forecast(random_split(windows, [1100, len(windows) - 1100]))


def windows_side_by_side():
    """They are split at random, and have nothing in common."""
    windows = _windows(torch.cat([_demand() for _ in range(8)]), stride=STEPS + 1)
    _forecast(random_split(windows, [260, len(windows) - 260]), epochs=8)


def waves_without_noise():
    """Windows of one function, begun anywhere: nothing is held out, and nothing is hidden."""
    rows = torch.sin(0.2 * (torch.arange(STEPS + 1) + torch.randint(0, 40_000, (1400, 1))))
    windows = TensorDataset(rows[:, :-1], rows[:, -1:])
    _forecast(random_split(windows, [1100, 300]))


QUIET = [training_text_scored_too, windows_side_by_side, waves_without_noise]
"""None of them may raise an alarm."""
