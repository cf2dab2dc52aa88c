"""Data helpers shared by several of the notebooks."""

import math
import random

import numpy as np
import torch
from torch.utils.data import Dataset


def seed_all(s=0):
    random.seed(s)
    np.random.seed(s)
    torch.manual_seed(s)


_PARTS = {
    "elvish": (["ael", "lin", "thi", "el", "fae", "syl"], ["riel", "dir", "wen", "las", "nor"]),
    "dwarvish": (["thr", "bal", "gim", "dur", "kaz", "bof"], ["ain", "in", "ur", "grim", "oin"]),
    "latin": (["mar", "luc", "jul", "aur", "tib", "val"], ["ius", "ia", "us", "ianus", "ella"]),
    "nordic": (["sig", "ha", "ing", "bjo", "tor", "gun"], ["rid", "kon", "var", "sten", "nar"]),
}


def fantasy_names(n=800, seed=0):
    r = random.Random(seed)
    out = []
    for _ in range(n):
        lang = r.choice(list(_PARTS))
        a, b = _PARTS[lang]
        mid = r.choice("aeiou") if r.random() < 0.3 else ""
        name = r.choice(a) + mid + r.choice(b)
        if r.random() < 0.25:
            i = r.randrange(len(name))
            name = name[:i] + r.choice("abcdefghijklmnopqrstuvwxyz") + name[i + 1 :]
        out.append((name, lang))
    return out


def encode_name(name, width=12):
    ids = [ord(c) - 96 for c in name[:width]]
    return ids + [0] * (width - len(ids))


_GOOD = "lovely great superb warm charming fresh honest clever".split()
_BAD = "awful dull broken cold boring stale clumsy bitter".split()
_FILL = "the a this film meal room phone was is really quite and i found very it today".split()


def reviews(n=800, seed=0, length=10):
    r = random.Random(seed)
    texts, labels = [], []
    for _ in range(n):
        y = r.randint(0, 1)
        words = [r.choice(_FILL) for _ in range(length)]
        for i in r.sample(range(length), 3):
            pos = r.random() < (0.85 if y else 0.15)
            words[i] = r.choice(_GOOD if pos else _BAD)
        texts.append(" ".join(words))
        labels.append(y)
    return texts, labels


def build_vocab(texts):
    vocab = {"<pad>": 0, "<unk>": 1}
    for t in texts:
        for w in t.split():
            vocab.setdefault(w, len(vocab))
    return vocab


def tones(n=600, length=128, seed=0, noise=0.6):
    """Four kinds of wave: sine, square, saw, chirp."""
    rng = np.random.RandomState(seed)
    t = np.arange(length) / length
    X = np.zeros((n, length), dtype=np.float32)
    y = rng.randint(0, 4, n)
    for i in range(n):
        f = rng.uniform(3, 9)
        p = rng.uniform(0, 1)
        ph = (f * t + p) % 1.0
        if y[i] == 0:
            s = np.sin(2 * math.pi * ph)
        elif y[i] == 1:
            s = np.sign(np.sin(2 * math.pi * ph))
        elif y[i] == 2:
            s = 2 * ph - 1
        else:
            s = np.sin(2 * math.pi * (f * t * (1 + t) + p))
        X[i] = s + noise * rng.randn(length)
    return X, y.astype(np.int64)


def seasonal_series(n=700, seed=0):
    rng = np.random.RandomState(seed)
    t = np.arange(n)
    s = np.sin(2 * np.pi * t / 24) + 0.5 * np.sin(2 * np.pi * t / 7) + 0.15 * rng.randn(n)
    return s.astype(np.float32)


class ArrayDataset(Dataset):
    def __init__(self, X, y, transform=None):
        self.X, self.y, self.transform = X, y, transform

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        x = torch.as_tensor(self.X[i], dtype=torch.float32)
        if self.transform is not None:
            x = self.transform(x)
        return x, torch.as_tensor(self.y[i])
