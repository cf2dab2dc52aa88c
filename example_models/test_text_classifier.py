"""Batches as dicts and a model that returns its own `.loss`, as Hugging Face's do."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from importlib.resources import files

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from pytest_dlcheck import Recipe, recipe

SUBJECTS = ("breast_cancer", "california_housing", "diabetes", "kddcup99", "wine_data")
PAD, UNKNOWN, WORDS = 0, 1, 300


@dataclass
class Output:
    loss: torch.Tensor | None
    logits: torch.Tensor


class TextClassifier(nn.Module):
    """Word embeddings and one transformer layer, averaged over the words that are no padding."""

    def __init__(self, width=32):
        super().__init__()
        self.words = nn.Embedding(WORDS, width, padding_idx=PAD)
        self.layer = nn.TransformerEncoderLayer(
            width, nhead=4, dim_feedforward=64, dropout=0.1, batch_first=True
        )
        self.head = nn.Linear(width, len(SUBJECTS))

    def forward(self, input_ids, attention_mask, labels=None):
        present = attention_mask.bool()
        hidden = self.layer(self.words(input_ids), src_key_padding_mask=~present)
        hidden = hidden.masked_fill(~present.unsqueeze(-1), 0.0)
        logits = self.head(hidden.sum(1) / present.sum(1, keepdim=True))
        return Output(None if labels is None else F.cross_entropy(logits, labels), logits)


def sentences():
    """Eight to twenty words at a time from scikit-learn's descriptions of five data sets."""
    folder = files("sklearn.datasets") / "descr"
    texts = [(folder / f"{name}.rst").read_text(encoding="utf-8").lower() for name in SUBJECTS]
    words = [text.split() for text in texts]
    common = Counter(word for text in words for word in text).most_common(WORDS - 2)
    index = {word: i for i, (word, _) in enumerate(common, start=2)}
    examples = []
    for label, text in enumerate(words):
        start, length = 0, 8
        while start + length <= len(text):
            ids = [index.get(word, UNKNOWN) for word in text[start : start + length]]
            examples.append((torch.tensor(ids), label))
            start, length = start + length, 8 + (length * 5 + 3) % 13
    return examples


def collate(examples):
    ids, labels = zip(*examples, strict=True)
    input_ids = pad_sequence(ids, batch_first=True, padding_value=PAD)
    return {
        "input_ids": input_ids,
        "attention_mask": (input_ids != PAD).long(),
        "labels": torch.tensor(labels),
    }


@pytest.mark.dlcheck(steps=80)
class TestTextClassifier:
    @recipe
    def text_classifier(self):
        model = TextClassifier()
        return Recipe(
            model=model,
            train_data=DataLoader(sentences(), batch_size=32, shuffle=True, collate_fn=collate),
            optimizer=torch.optim.AdamW(model.parameters(), lr=3e-3),
        )
