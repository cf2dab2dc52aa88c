"""Models that let samples meet, by a view or a layer along the batch, beside healthy ones."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from .faults import fault

SAMPLES, STEPS, FEATURES, CLASSES = 320, 10, 6, 4


@cache
def _series():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(SAMPLES, STEPS, FEATURES, generator=generator)
    return x, (x.mean(1) @ torch.randn(FEATURES, CLASSES, generator=generator)).argmax(1)


def _fit(model, *, by_hand=False, epochs=2):
    x, y = _series()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    loader = DataLoader(TensorDataset(x, y), 32, shuffle=True)
    for _ in range(epochs):
        parts = ((x[i], y[i]) for i in torch.randperm(SAMPLES).split(32))
        for inputs, targets in parts if by_hand else loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
    return model


class Recurrent(nn.Module):
    """An LSTM's last step."""

    def __init__(self, arrange, *, batch_first=True):
        super().__init__()
        self.rnn = nn.LSTM(FEATURES, 16, batch_first=batch_first)
        self.head, self.arrange = nn.Linear(16, CLASSES), arrange

    def forward(self, x):
        out = self.rnn(self.arrange(x))[0]
        return self.head(out[:, -1] if len(out) == len(x) else out[-1])


def sequences():
    _fit(Recurrent(lambda x: x), by_hand=True)


def sequences_transposed():
    _fit(Recurrent(lambda x: x.transpose(0, 1), batch_first=False))


@fault(sequences, "samples_stay_apart", words=("batch_first",), advice=True)
def along_the_batch_of_batches_cut_by_hand():
    _fit(Recurrent(lambda x: x, batch_first=False), by_hand=True)


@fault(sequences_transposed, "samples_stay_apart", words=("reshape",))
def sequences_reshaped_for_transposed():
    _fit(Recurrent(lambda x: x.reshape(x.size(1), x.size(0), -1), batch_first=False))


class Encoded(nn.Module):
    """Attention over the steps, and their mean."""

    def __init__(self, batch_first):
        super().__init__()
        self.embed, self.head = nn.Linear(FEATURES, 16), nn.Linear(16, CLASSES)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=batch_first)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)

    def forward(self, x):
        return self.head(self.encoder(self.embed(x)).mean(1))


def encoded():
    _fit(Encoded(batch_first=True), by_hand=True)


@fault(encoded, "samples_stay_apart", words=("batch_first",), advice=True)
def attention_along_the_batch_cut_by_hand():
    _fit(Encoded(batch_first=False), by_hand=True)


class Flat(nn.Module):
    """All steps in a row."""

    def __init__(self, flatten, axis=1):
        super().__init__()
        self.first, self.head = nn.Linear(STEPS * FEATURES, 32), nn.Linear(32, CLASSES)
        self.flatten, self.axis = flatten, axis

    def forward(self, x):
        seen = self.first(self.flatten(x))
        seen = (seen - seen.mean(self.axis, keepdim=True)) / (seen.std(self.axis, keepdim=True) + 1e-5)
        return self.head(seen.relu())


def flattened():
    _fit(Flat(lambda x: x.flatten(1)))


@fault(flattened, "samples_stay_apart", words=("reshape",))
def transposed_and_flattened():
    _fit(Flat(lambda x: x.transpose(0, 1).reshape(len(x), -1)))


@fault(flattened, "samples_stay_apart", words=("name another axis",), advice=True)
def normalised_over_the_batch_by_hand():
    _fit(Flat(lambda x: x.flatten(1), axis=0))


@fault(encoded, "samples_stay_apart", words=("runs along the batch",))
def attention_along_the_batch():
    _fit(Encoded(batch_first=False))


# -- healthy neighbours ---------------------------------------------------------------------------


class Recording(nn.Module):
    """One recording of several sensors: an LSTM along time, on purpose, and one answer a step."""

    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.LSTM(FEATURES, 16), nn.Linear(16, CLASSES)

    def forward(self, x):
        return self.head(self.rnn(x)[0].mean(1))


def steps_of_one_recording():
    _fit(Recording(), by_hand=True)


class Heads(nn.Module):
    """Attention whose heads are split and put together by views, with samples folded in."""

    def __init__(self):
        super().__init__()
        self.qkv, self.head = nn.Linear(FEATURES, 48), nn.Linear(16, CLASSES)

    def forward(self, x):
        n, t, _ = x.shape
        q, k, v = (
            z.view(n, t, 2, 8).transpose(1, 2).reshape(2 * n, t, 8) for z in self.qkv(x).chunk(3, -1)
        )
        seen = (q @ k.mT / 8**0.5).softmax(-1) @ v
        return self.head(seen.view(n, 2, t, 8).transpose(1, 2).reshape(n * t, 16)).view(n, t, -1).mean(1)


def heads_by_views():
    _fit(Heads())


class AmongSamples(nn.Module):
    """Rows of a table that attend to each other, on purpose."""

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(STEPS * FEATURES, 32), nn.Linear(32, CLASSES)
        self.attention = nn.MultiheadAttention(32, 2)

    def forward(self, x):
        rows = self.first(x.flatten(1)).relu()[:, None]
        return self.head(rows + self.attention(rows, rows, rows)[0])[:, 0]


def attention_among_samples():
    _fit(AmongSamples())


class Stateful(nn.Module):
    """Counts its calls, has a hook, and may not be called aside."""

    def __init__(self):
        super().__init__()
        self.flat, self.calls = Flat(lambda x: x.flatten(1)), []
        self.flat.register_forward_hook(lambda *_: self.calls.append(self.training))

    def forward(self, x):
        return self.flat(x)


def counts_its_calls():
    model = _fit(Stateful())
    assert len(model.calls) == 20


def nodes_of_a_graph():
    """One graph, cut into parts: nodes hear of each other, and each has a target."""
    x, y = _series()
    x, generator = x.flatten(1), torch.Generator().manual_seed(2)
    edges = (torch.rand(SAMPLES, SAMPLES, generator=generator) < 0.05).float() + torch.eye(SAMPLES)
    first, last = nn.Linear(x.shape[1], 32), nn.Linear(32, CLASSES)

    class Graph(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = first, last

        def forward(self, nodes, edges):
            near = edges / edges.sum(1, keepdim=True)
            return self.last(near @ self.first(near @ nodes).relu())

    model = Graph()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(30):
        i = torch.randperm(SAMPLES)[:64]
        optimizer.zero_grad()
        F.cross_entropy(model(x[i], edges[i][:, i]), y[i]).backward()
        optimizer.step()


QUIET = [
    steps_of_one_recording,
    heads_by_views,
    attention_among_samples,
    counts_its_calls,
    nodes_of_a_graph,
]
"""None of them may raise an alarm."""
UNTOLD = [(loop, "name another axis") for loop in QUIET]
"""Nor be given this advice."""
