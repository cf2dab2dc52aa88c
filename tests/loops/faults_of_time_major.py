"""Language models on words cut by hand, time first or samples first, and one side told the other way."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from .faults import fault

VOCABULARY, STREAMS, STEPS, WIDTH = 40, 12, 20, 32


def _streams():
    """Words that hang on the one before, ``[length, streams]``."""
    generator = torch.Generator().manual_seed(2)
    successors = torch.randint(VOCABULARY, (VOCABULARY, 3), generator=generator)
    words = [torch.randint(VOCABULARY, (STREAMS,), generator=generator)]
    for _ in range(STEPS * 40):
        words.append(successors[words[-1], torch.randint(3, (STREAMS,), generator=generator)])
    return torch.stack(words)


class Words(nn.Module):
    """An LSTM over words; scores lie as the words do."""

    def __init__(self, *, batch_first):
        super().__init__()
        self.embedding, self.head = nn.Embedding(VOCABULARY, WIDTH), nn.Linear(WIDTH, VOCABULARY)
        self.rnn = nn.LSTM(WIDTH, WIDTH, batch_first=batch_first)

    def forward(self, words):
        return self.head(self.rnn(self.embedding(words))[0])


def _fit(model, batches):
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for words, targets in batches:
        optimizer.zero_grad()
        F.cross_entropy(model(words).reshape(-1, VOCABULARY), targets.reshape(-1)).backward()
        optimizer.step()


def _parts(turn=lambda targets: targets):
    words = _streams()
    for start in range(0, len(words) - STEPS, STEPS):
        yield words[start : start + STEPS], turn(words[start + 1 : start + STEPS + 1])


def time_major():
    _fit(Words(batch_first=False), _parts())


@fault(time_major, "targets_are_aligned", words=("time-major",))
def targets_flattened_batch_major():
    _fit(Words(batch_first=False), _parts(torch.t))


@fault(time_major, "samples_stay_apart", words=("batch_first",))
def time_major_words_in_a_layer_with_the_batch_first():
    _fit(Words(batch_first=True), _parts())


def _drawn():
    words = _streams()
    generator = torch.Generator().manual_seed(3)
    for _ in range(60):
        starts = torch.randint(len(words) - STEPS, (16,), generator=generator).tolist()
        streams = torch.randint(STREAMS, (16,), generator=generator).tolist()
        cut = torch.stack([words[i : i + STEPS + 1, k] for i, k in zip(starts, streams, strict=True)])
        yield cut[:, :-1], cut[:, 1:]


def windows_drawn_by_hand():
    _fit(Words(batch_first=True), _drawn())


@fault(windows_drawn_by_hand, "samples_stay_apart", words=("batch_first",))
def windows_drawn_by_hand_without_batch_first():
    _fit(Words(batch_first=False), _drawn())


def _loaded():
    windows = _streams()[: STEPS * 2 * 20].T.reshape(-1, STEPS + 5)
    for batch in DataLoader(windows.clone(), 16, shuffle=True, drop_last=True):
        yield batch[:, :-1], batch[:, 1:]


def windows_of_a_loader():
    for _ in range(2):
        _fit(Words(batch_first=True), _loaded())


@fault(windows_of_a_loader, "samples_stay_apart", words=("batch_first",))
def windows_of_a_loader_without_batch_first():
    for _ in range(2):
        _fit(Words(batch_first=False), _loaded())
