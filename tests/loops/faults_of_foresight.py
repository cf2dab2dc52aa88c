"""Models that are to tell the next step and see it, by other ways than attention, and healthy ones."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import nn

from .faults import fault

WORDS, WIDTH, STEPS = 24, 32, 12


@cache
def _text():
    generator = torch.Generator().manual_seed(3)
    chances = torch.rand(WORDS, WORDS, generator=generator) ** 6
    words = [0]
    for _ in range(2000):
        words.append(int(torch.multinomial(chances[words[-1]], 1, generator=generator)))
    return torch.tensor(words)


def _speak(model, *, steps=40, samples_first=True, loss=None):
    optimizer, text = torch.optim.AdamW(model.parameters(), lr=3e-3), _text()
    for _ in range(steps):
        begins = torch.randint(0, len(text) - STEPS - 1, (16, 1))
        said = text[begins + torch.arange(STEPS + 1)]
        said = said if samples_first else said.t()
        x, y = (said[:, :-1], said[:, 1:]) if samples_first else (said[:-1], said[1:])
        scores = model(x)
        cost = F.cross_entropy(scores.reshape(-1, WORDS), y.reshape(-1)) if loss is None else None
        optimizer.zero_grad()
        (loss(scores, y) if cost is None else cost).backward()
        optimizer.step()


class Recurrent(nn.Module):
    """A recurrent model of language."""

    def __init__(self, kind=nn.LSTM, *, both=False, batch_first=True):
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH)
        self.rnn = kind(WIDTH, WIDTH, batch_first=batch_first, bidirectional=both)
        self.head = nn.Linear(WIDTH * (1 + both), WORDS)

    def forward(self, x):
        return self.head(self.rnn(self.embed(x))[0])


def forwards():
    _speak(Recurrent())


def forwards_time_first():
    _speak(Recurrent(nn.GRU, batch_first=False), samples_first=False)


@fault(forwards, "targets_are_aligned", words=("both directions",))
def backwards_too():
    _speak(Recurrent(both=True))


@fault(forwards_time_first, "targets_are_aligned", words=("both directions",))
def backwards_too_time_first():
    _speak(Recurrent(nn.GRU, both=True, batch_first=False), samples_first=False)


@fault(forwards, "targets_are_aligned", words=("both directions",))
def backwards_too_classes_on_axis_one():
    _speak(Recurrent(both=True), loss=lambda scores, y: F.cross_entropy(scores.mT, y))


class Convolved(nn.Module):
    """Two convolutions over time."""

    def __init__(self, before, inside):
        super().__init__()
        self.embed, self.head = nn.Embedding(WORDS, WIDTH), nn.Linear(WIDTH, WORDS)
        self.layers = nn.ModuleList(nn.Conv1d(WIDTH, WIDTH, 3, padding=inside) for _ in range(2))
        self.before = before

    def forward(self, x):
        seen = self.embed(x).mT
        for layer in self.layers:
            seen = layer(F.pad(seen, (self.before, 0))).relu()
        return self.head(seen.mT)


def padded_before():
    _speak(Convolved(2, 0))


@fault(padded_before, "targets_are_aligned", words=("later values of input",))
def padded_on_both_sides():
    _speak(Convolved(0, 1))


class Series(nn.Module):
    """Numbers in, the next ones out."""

    def __init__(self, both):
        super().__init__()
        self.rnn, self.head = (
            nn.LSTM(1, 16, batch_first=True, bidirectional=both),
            nn.Linear(16 * (1 + both), 1),
        )

    def forward(self, x):
        return self.head(self.rnn(x)[0])


def _forecast(model):
    series = torch.sin(torch.arange(2000) * 0.3)[:, None]
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(40):
        said = series[torch.randint(0, 1900, (16, 1)) + torch.arange(STEPS + 1)]
        said = said + 0.1 * torch.randn_like(said)
        optimizer.zero_grad()
        F.mse_loss(model(said[:, :-1]), said[:, 1:]).backward()
        optimizer.step()


def forecast():
    _forecast(Series(both=False))


@fault(forecast, "targets_are_aligned", words=("both directions",))
def forecast_that_sees_what_comes():
    _forecast(Series(both=True))


# -- healthy neighbours ---------------------------------------------------------------------------


class Autoencoder(nn.Module):
    """A text is put together to one vector, and said again from it, each word after those before."""

    def __init__(self, pool):
        super().__init__()
        self.embed, self.latent = nn.Embedding(WORDS, WIDTH), nn.Linear(2 * WIDTH, WIDTH)
        self.encoder = nn.LSTM(WIDTH, WIDTH, batch_first=True, bidirectional=True)
        self.attention = nn.TransformerEncoderLayer(WIDTH, 2, 64, batch_first=True)
        self.wide = nn.Linear(WIDTH, 2 * WIDTH)
        self.decoder, self.head = nn.GRU(WIDTH, WIDTH, batch_first=True), nn.Linear(WIDTH, WORDS)
        self.pool = pool

    def forward(self, x):
        words = self.embed(x)
        latent = self.latent(self.pool(self, words)).tanh()
        latent = latent + 0.1 * torch.randn_like(latent)
        return self.head(self.decoder(words + latent[:, None], latent[None])[0])


def text_from_its_last_states():
    _speak(Autoencoder(lambda model, words: torch.cat([*model.encoder(words)[1][0]], 1)))


def text_from_its_mean():
    _speak(Autoencoder(lambda model, words: model.encoder(words)[0].mean(1)))


def text_from_attention():
    _speak(Autoencoder(lambda model, words: model.wide(model.attention(words).mean(1))))


class BothWays(nn.Module):
    """One head tells the next word, the other the one before."""

    def __init__(self):
        super().__init__()
        self.embed, self.rnn = (
            nn.Embedding(WORDS, WIDTH),
            nn.LSTM(WIDTH, WIDTH, batch_first=True, bidirectional=True),
        )
        self.following, self.before = nn.Linear(WIDTH, WORDS), nn.Linear(WIDTH, WORDS)

    def forward(self, x):
        seen = self.rnn(self.embed(x))[0]
        return self.following(seen[..., :WIDTH]), self.before(seen[..., WIDTH:])


def language_both_ways():
    def loss(scores, y):
        x_before = torch.cat([torch.zeros_like(y[:, :2]), y[:, :-2]], 1)
        return F.cross_entropy(scores[0].mT, y) + F.cross_entropy(scores[1].mT, x_before)

    _speak(BothWays(), loss=loss)


class Masked(nn.Module):
    """Attention that is masked after its softmax and made to sum to 1 again."""

    def __init__(self):
        super().__init__()
        self.embed, self.qkv = nn.Embedding(WORDS, WIDTH), nn.Linear(WIDTH, 3 * WIDTH)
        self.head = nn.Linear(WIDTH, WORDS)

    def forward(self, x):
        words = self.embed(x)
        q, k, v = self.qkv(words).chunk(3, -1)
        weights = (q @ k.mT / WIDTH**0.5).softmax(-1).tril()
        return self.head(words + weights / weights.sum(-1, keepdim=True) @ v)


def masked_after_the_softmax():
    _speak(Masked())


class Tagger(Recurrent):
    """Reads both ways: what a word is depends on those around it."""


def tagger():
    _speak(Tagger(both=True), loss=lambda scores, y: F.cross_entropy(scores.mT, (y + 3) % WORDS))


class Latent(nn.Module):
    """A latent number for each step, inferred from what comes, and a state of what was."""

    def __init__(self):
        super().__init__()
        self.past, self.all = nn.GRU(3, 16, batch_first=True), nn.GRU(3, 8, 1, True, True, 0.0, True)
        self.inferred, self.head = nn.Linear(16, 4), nn.Linear(18, 3)

    def forward(self, x):
        mean, log = self.inferred(self.all(x)[0]).chunk(2, -1)
        latent = mean + torch.randn_like(mean) * log.exp() if self.training else mean
        surplus = (log.exp().square() + mean.square() - 1 - 2 * log).sum(-1).mean() / 2
        return self.head(torch.cat([latent, self.past(x)[0]], -1)), surplus


class Code(nn.Module):
    """Two numbers of a step and its neighbours, beside a state of what was."""

    def __init__(self):
        super().__init__()
        self.code, self.past = nn.Conv1d(8, 2, 3, padding=1), nn.GRU(8, 16, batch_first=True)
        self.head = nn.Linear(18, 8)

    def forward(self, x):
        return self.head(torch.cat([self.code(x.mT).mT.tanh(), self.past(x)[0]], -1))


def _walk(model, width, loss):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(40):
        x = 0.3 * torch.randn(32, 24, width).cumsum(1)
        optimizer.zero_grad()
        loss(model(x), x).backward()
        optimizer.step()


def latent_numbers():
    _walk(Latent(), 3, lambda out, x: F.mse_loss(out[0][:, :-1], x[:, 1:]) + 0.1 * out[1])


def narrow_code():
    _walk(Code(), 8, lambda out, x: F.mse_loss(out[:, :-1], x[:, 1:]))


QUIET = [
    latent_numbers,
    narrow_code,
    text_from_its_last_states,
    text_from_its_mean,
    text_from_attention,
    language_both_ways,
    masked_after_the_softmax,
    tagger,
]
"""None of them may raise an alarm."""
