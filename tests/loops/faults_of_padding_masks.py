"""Padding that is hidden and left out of losses, beside padding that counts, and masks of the rest."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from .faults import fault

WORDS, WIDTH, STEPS, SAMPLES = 20, 16, 10, 256


@cache
def _phrases():
    """Phrases of 3 to 9 words, and whether the first word comes again."""
    generator = torch.Generator().manual_seed(5)
    lengths = torch.randint(3, STEPS, (SAMPLES,), generator=generator)
    words = [torch.randint(1, WORDS, (int(n),), generator=generator) for n in lengths]
    return [(w, int((w[1:] == w[0]).any())) for w in words]


def _collate(phrases, *, left=False):
    words = torch.zeros(len(phrases), STEPS, dtype=torch.long)
    for row, (said, _) in zip(words, phrases, strict=True):
        row[STEPS - len(said) :] = said if left else row[STEPS - len(said) :]
        row[: len(said)] = row[: len(said)] if left else said
    return words, torch.tensor([label for _, label in phrases])


class Layers(nn.Module):
    """An encoder of torch's."""

    def __init__(self):
        super().__init__()
        self.embed, self.places = nn.Embedding(WORDS, WIDTH), nn.Embedding(STEPS, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 32, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, 2)

    def forward(self, words, mask):
        z = self.embed(words) + self.places.weight
        return self.head(self.encoder(z, src_key_padding_mask=mask).mean(1))


class Fused(nn.Module):
    """Attention by function, where True takes part."""

    def __init__(self, hidden):
        super().__init__()
        self.embed, self.head = nn.Embedding(WORDS, WIDTH), nn.Linear(WIDTH, 2)
        self.mix, self.hidden = nn.Linear(WIDTH, 3 * WIDTH), hidden

    def forward(self, words):
        q, k, v = self.mix(self.embed(words)).chunk(3, -1)
        keep = self.hidden(words)[:, None, :]
        z = F.scaled_dot_product_attention(q, k, v, attn_mask=keep)
        return self.head(z.mean(1))


def _read(model, call, collate=_collate):
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(2):
        for words, labels in DataLoader(_phrases(), 32, shuffle=True, collate_fn=collate):
            optimizer.zero_grad()
            F.cross_entropy(call(model, words), labels).backward()
            optimizer.step()


def hides_the_padding():
    _read(Layers(), lambda model, words: model(words, words == 0))


def hides_the_padding_on_the_left():
    _read(Layers(), lambda model, words: model(words, words == 0), lambda p: _collate(p, left=True))


def hides_nothing():
    _read(Layers(), lambda model, words: model(words, torch.zeros_like(words, dtype=torch.bool)))


def hides_all_but_the_first():
    first = torch.arange(STEPS) > 0
    _read(Layers(), lambda model, words: model(words, first.expand_as(words)))


def takes_what_is_no_padding():
    _read(Fused(lambda words: words != 0), lambda model, words: model(words))


@fault(hides_the_padding, "uses_its_inputs", words=("padding mask", "inverted"))
def hides_the_words():
    _read(Layers(), lambda model, words: model(words, words != 0))


@fault(hides_the_padding_on_the_left, "uses_its_inputs", words=("padding mask", "inverted"))
def hides_the_words_on_the_right():
    _read(Layers(), lambda model, words: model(words, words != 0), lambda p: _collate(p, left=True))


@fault(takes_what_is_no_padding, "uses_its_inputs", words=("padding mask", "inverted"))
def takes_the_padding():
    _read(Fused(lambda words: words == 0), lambda model, words: model(words))


class Repeats(nn.Module):
    """Reads a phrase, and says it again word by word."""

    def __init__(self):
        super().__init__()
        self.heard, self.said = nn.Embedding(WORDS, WIDTH), nn.Embedding(WORDS, WIDTH)
        self.encoder, self.decoder = (nn.GRU(WIDTH, WIDTH, batch_first=True) for _ in range(2))
        self.head = nn.Linear(WIDTH, WORDS)

    def forward(self, words, before):
        return self.head(self.decoder(self.said(before), self.encoder(self.heard(words))[1])[0])


def _repeat(**options):
    model = Repeats()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(2):
        for words, _labels in DataLoader(_phrases(), 32, shuffle=True, collate_fn=_collate):
            longest = int((words != 0).sum(1).max())
            scores = model(words[:, :longest].flip(1), words[:, :-1])
            optimizer.zero_grad()
            F.cross_entropy(scores.flatten(0, 1), words[:, 1:].flatten(), **options).backward()
            optimizer.step()


def leaves_padding_out():
    _repeat(ignore_index=0)


@fault(leaves_padding_out, "targets_are_aligned", words=("lie on padding",), advice=True)
def counts_the_padding():
    _repeat()


QUIET = (hides_nothing, hides_all_but_the_first)
