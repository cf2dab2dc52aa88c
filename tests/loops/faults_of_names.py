"""Models that are called by the names of what they are given, as ``model(**batch)``."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from .faults import fault

WORDS, KINDS = 60, 3


class Told(nn.Module):
    """Tells the kind of short texts, and how wrong it is where their kinds are given."""

    def __init__(self):
        super().__init__()
        self.embedding, self.dropout = nn.Embedding(WORDS, 16), nn.Dropout(0.1)
        self.head = nn.Linear(16, KINDS)

    def forward(self, words=None, mask=None, labels=None):
        shares = mask / mask.sum(1, keepdim=True)
        scores = self.head((self.dropout(self.embedding(words)) * shares[..., None]).sum(1))
        return F.cross_entropy(scores, labels), scores


def _texts(count, vocabulary=WORDS, longest=11, seed=0):
    """Short texts; of few words some are the same."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(count):
        length = int(torch.randint(2, longest, (), generator=generator))
        words = torch.randint(1, vocabulary, (length,), generator=generator)
        found.append({"labels": int(words[0]) % KINDS, "words": words})
    return found


def _joined(samples):
    """Padded to the longest; labels come first, as some collators have them."""
    words = nn.utils.rnn.pad_sequence([each["words"] for each in samples], batch_first=True)
    labels = torch.tensor([each["labels"] for each in samples])
    return {"labels": labels, "words": words, "mask": (words > 0).float()}


def _loader(samples, *, shuffle=False):
    return DataLoader(samples, 16, shuffle=shuffle, collate_fn=_joined)


def _fit(train, held, epochs=3):
    model = Told()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(epochs):
        model.train()
        for batch in _loader(train, shuffle=True):
            optimizer.zero_grad()
            model(**batch)[0].backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            for batch in _loader(held):
                model(**batch)


def called_by_names():
    texts = _texts(480)
    _fit(texts[:360], texts[360:])


@fault(called_by_names, "validation_is_untouched", words=("split",))
def called_by_names_on_a_split_of_what_is_trained_on():
    texts = _texts(480)
    _fit(texts, texts[360:])


def short_texts_some_of_which_are_equal():
    """A few words: a tenth or more of the held-out texts are also among the others, by chance."""
    texts = _texts(1200, vocabulary=9, longest=8)
    _fit(texts[:700], texts[700:])


def training_set_scored_in_other_lengths():
    """Texts are cut at random while they are trained on, and scored as they are; all of them."""

    class Cut(list):
        def __getitem__(self, index):
            each = super().__getitem__(index)
            return {**each, "words": each["words"][: int(torch.randint(6, 11, ()))]}

    texts = _texts(400)
    _fit(Cut(texts), texts)


class Successors(nn.Module):
    """A language model that shifts its labels itself."""

    def __init__(self):
        super().__init__()
        self.embedding, self.rnn = nn.Embedding(WORDS, 24), nn.GRU(24, 24, batch_first=True)
        self.head = nn.Linear(24, WORDS)

    def forward(self, words=None, labels=None):
        scores = self.head(self.rnn(self.embedding(words))[0])
        return F.cross_entropy(scores[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


def _sentences(count=320, length=14):
    generator = torch.Generator().manual_seed(4)
    follows = torch.randint(1, WORDS, (WORDS, 3), generator=generator)
    words = [torch.randint(1, WORDS, (count,), generator=generator)]
    for _ in range(length):
        words.append(follows[words[-1], torch.randint(3, (count,), generator=generator)])
    return torch.stack(words, 1)


def _language(model, given):
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(2):
        for words in DataLoader(_sentences(), 16, shuffle=True):
            optimizer.zero_grad()
            model(**given(words)).backward()
            optimizer.step()


def labels_shifted_by_the_model():
    _language(Successors(), lambda words: {"words": words, "labels": words})


@fault(labels_shifted_by_the_model, "targets_are_aligned", words=("shifted twice",))
def labels_shifted_before_the_model_shifts_them():
    _language(Successors(), lambda words: {"words": words[:, :-1], "labels": words[:, 1:]})


class Hidden(nn.Module):
    """Tells words that are hidden from those around them; labels below 0 do not count."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(WORDS + 1, 24)
        self.rnn = nn.GRU(24, 24, batch_first=True, bidirectional=True)
        self.head = nn.Linear(48, WORDS)

    def forward(self, words=None, labels=None):
        scores = self.head(self.rnn(self.embedding(words))[0])
        return F.cross_entropy(scores.flatten(0, 1), labels.flatten(), ignore_index=-100)


def _hidden(*, hides):
    def given(words):
        chosen = torch.rand(words.shape) < 0.2
        shown = words.masked_fill(chosen, WORDS) if hides else words
        return {"labels": words.masked_fill(~chosen, -100), "words": shown}

    _language(Hidden(), given)


def words_that_are_hidden():
    _hidden(hides=True)


@fault(words_that_are_hidden, "targets_are_aligned", words=("the very tokens",), advice=True)
def words_that_are_to_be_told_and_shown():
    _hidden(hides=False)


QUIET = [short_texts_some_of_which_are_equal, training_set_scored_in_other_lengths]
