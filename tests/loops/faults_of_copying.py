"""Models of sequences whose targets are what they are called on, beside such that are right so."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .faults import fault
from .faults_of_foresight import STEPS, WIDTH, WORDS, Recurrent, _text


class Decoder(nn.Module):
    """Attention to what came before, and to a source, if there is one."""

    def __init__(self, *, is_causal=True, shifts=False, hides=False):
        super().__init__()
        self.embed, self.places = nn.Embedding(WORDS + 1, WIDTH), nn.Embedding(STEPS, WIDTH)
        self.mix, self.head = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WORDS)
        self.is_causal, self.shifts, self.hides = is_causal, shifts, hides

    def forward(self, words, source=None):
        if self.shifts:
            words = F.pad(words[:, :-1], (1, 0), value=WORDS)
        if self.hides and self.training:
            words = words.masked_fill(torch.rand(words.shape) < 0.3, WORDS)
        z = self.embed(words) + self.places.weight[: words.shape[1]]
        q, k, v = self.mix(z).chunk(3, -1)
        z = z + F.scaled_dot_product_attention(q, k, v, is_causal=self.is_causal)
        return self.head(z if source is None else z + self.embed(source).mean(1, keepdim=True))


class Spelled(nn.Module):
    """Words one by one, without any others."""

    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(WORDS, 4), nn.Linear(4, WORDS)

    def forward(self, words):
        return self.head(self.embed(words))


class Remembered(nn.Module):
    """A text in one state, and each word of it from that."""

    def __init__(self):
        super().__init__()
        self.embed, self.rnn = nn.Embedding(WORDS, WIDTH), nn.GRU(WIDTH, WIDTH, batch_first=True)
        self.places, self.head = nn.Embedding(STEPS, WIDTH), nn.Linear(WIDTH, WORDS)

    def forward(self, words):
        _, state = self.rnn(self.embed(words))
        return self.head((state[0][:, None] + self.places.weight).relu())


def _speak(model, call, *, samples_first=True):
    optimizer, text = torch.optim.AdamW(model.parameters(), lr=3e-3), _text()
    for _ in range(40):
        said = text[torch.randint(0, len(text) - STEPS - 1, (16, 1)) + torch.arange(STEPS + 1)]
        scores, wanted = call(model, said if samples_first else said.t())
        optimizer.zero_grad()
        F.cross_entropy(scores.reshape(-1, scores.shape[-1]), wanted.reshape(-1)).backward()
        optimizer.step()


def _next(model, said):
    return model(said[:, :-1]), said[:, 1:]


def _own(model, said):
    return model(said[:, :-1]), said[:, :-1]


def says_the_next():
    _speak(Recurrent(nn.GRU), _next)


def says_the_next_by_attention():
    _speak(Decoder(), _next)


def says_the_next_time_first():
    model = Recurrent(nn.GRU, batch_first=False)
    _speak(model, lambda model, said: (model(said[:-1]), said[1:]), samples_first=False)


def answers():
    _speak(Decoder(), lambda model, said: (model(said[:, :-1], said.flip(1)), said[:, 1:]))


@fault(says_the_next, "targets_are_aligned", words=("not shifted",))
def says_its_own():
    _speak(Recurrent(nn.GRU), _own)


@fault(says_the_next_by_attention, "targets_are_aligned", words=("not shifted",))
def says_its_own_by_attention():
    _speak(Decoder(), _own)


@fault(says_the_next_time_first, "targets_are_aligned", words=("not shifted",))
def says_its_own_time_first():
    model = Recurrent(nn.GRU, batch_first=False)
    _speak(model, lambda model, said: (model(said[:-1]), said[:-1]), samples_first=False)


@fault(answers, "targets_are_aligned", words=("not shifted",))
def answers_what_it_is_told():
    _speak(Decoder(), lambda model, said: (model(said[:, :-1], said.flip(1)), said[:, :-1]))


# -- healthy neighbours ---------------------------------------------------------------------------


def shifts_by_itself():
    _speak(Decoder(shifts=True), _own)


def shifts_its_scores():
    _speak(Recurrent(nn.GRU), lambda model, said: (model(said)[:, :-1], said[:, 1:]))


def hides_words_by_itself():
    _speak(Decoder(hides=True), _own)


def hides_words_and_sees_both_sides():
    _speak(Decoder(is_causal=False, hides=True), _own)


def spells():
    _speak(Spelled(), _own)


def remembers():
    _speak(Remembered(), _own)


def tags():
    tags = torch.randperm(WORDS, generator=torch.Generator().manual_seed(1))
    _speak(Recurrent(nn.GRU), lambda model, said: (model(said[:, :-1]), tags[said[:, :-1]]))


QUIET = (
    shifts_by_itself,
    shifts_its_scores,
    hides_words_by_itself,
    hides_words_and_sees_both_sides,
    spells,
    remembers,
    tags,
)
"""None of them may raise an alarm."""
