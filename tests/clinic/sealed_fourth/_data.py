"""Data for the recipes: scikit-learn's own sets, its description pages as text, and generated signals."""

from __future__ import annotations

import importlib
import re
from functools import lru_cache
from importlib.resources import files

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.model_selection import train_test_split


@lru_cache(None)
def digits():
    """train images, train labels, val images, val labels; images 1 x 8 x 8 in [0, 1]."""
    x, y = load_digits(return_X_y=True)
    a, b, c, d = train_test_split(x / 16.0, y, test_size=0.2, stratify=y, random_state=0)
    image = lambda v: torch.tensor(v, dtype=torch.float32).view(-1, 1, 8, 8)
    return image(a), torch.tensor(c), image(b), torch.tensor(d)


@lru_cache(None)
def wine():
    x, y = load_wine(return_X_y=True)
    return train_test_split(x, y, test_size=0.25, stratify=y, random_state=0)


@lru_cache(None)
def cancer():
    x, y = load_breast_cancer(return_X_y=True)
    return train_test_split(x, y, test_size=0.25, stratify=y, random_state=0)


@lru_cache(None)
def pages():
    folder = files("sklearn.datasets") / "descr"
    found = sorted((p for p in folder.iterdir() if p.name.endswith(".rst")), key=lambda p: p.name)
    return [p.read_text(encoding="utf-8") for p in found]


TOPICS = (
    "numpy",
    "torch.nn",
    "torch.optim",
    "sklearn.metrics",
    "sklearn.linear_model",
    "sklearn.datasets",
)


def docstrings(name):
    module = importlib.import_module(name)
    docs = {getattr(module, member).__doc__ or "" for member in sorted(dir(module))}
    return " ".join(sorted(d for d in docs if isinstance(d, str)))


@lru_cache(None)
def snippets(shortest=3, longest=24, words_per_topic=6000):
    """Snippets of documentation as codes of words (from 1 on), each with the number of its package."""
    words = [re.findall(r"[a-z]+", docstrings(name).lower())[:words_per_topic] for name in TOPICS]
    counts = {}
    for page in words:
        for w in page:
            counts[w] = counts.get(w, 0) + 1
    kept = sorted((w for w in counts if counts[w] > 2), key=lambda w: (-counts[w], w))[:1500]
    index = {w: i + 1 for i, w in enumerate(kept)}
    rng = np.random.default_rng(0)
    samples = {}
    for label, page in enumerate(words):
        codes = [index[w] for w in page if w in index]
        at = 0
        while at + shortest < len(codes):
            n = int(rng.integers(shortest, longest + 1))
            samples.setdefault(tuple(codes[at : at + n]), label)
            at += n
    samples = [(torch.tensor(codes), label) for codes, label in samples.items()]
    samples = [samples[i] for i in rng.permutation(len(samples))]
    cut = int(0.8 * len(samples))
    return samples[:cut], samples[cut:], len(kept) + 1


@lru_cache(None)
def characters():
    text = "".join(pages())
    alphabet = sorted(set(text))
    index = {c: i for i, c in enumerate(alphabet)}
    codes = torch.tensor([index[c] for c in text])
    cut = int(0.9 * len(codes))
    return codes[:cut], codes[cut:], len(alphabet)


class Windows(torch.utils.data.Dataset):
    def __init__(self, codes, context=32):
        self.codes, self.context = codes, context

    def __len__(self):
        return (len(self.codes) - 1) // self.context

    def __getitem__(self, i):
        s = i * self.context
        return self.codes[s : s + self.context], self.codes[s + 1 : s + self.context + 1]
