from pydoc_data.topics import topics

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def seed_all(seed=0):
    torch.manual_seed(seed)
    np.random.seed(seed)


def digits_split(images=True, test_size=0.2, seed=0):
    d = load_digits()
    X = (d.images.astype("float32") / 16.0 - 0.305) / 0.376
    X = X[:, None] if images else X.reshape(len(X), -1)
    a, b, ya, yb = train_test_split(
        X, d.target, test_size=test_size, random_state=seed, stratify=d.target
    )
    return (
        torch.from_numpy(a),
        torch.from_numpy(ya).long(),
        torch.from_numpy(b),
        torch.from_numpy(yb).long(),
    )


def corpus(n=200000):
    """Lower-case letters of Python's own reference manual (shipped with the interpreter)."""
    text = "\n".join(topics[k] for k in sorted(topics, key=len)).lower()
    text = "".join(c for c in text if c in "abcdefghijklmnopqrstuvwxyz .,\n")
    while "  " in text:
        text = text.replace("  ", " ")
    text = text[:n]
    chars = sorted(set(text))
    stoi = {c: i for i, c in enumerate(chars)}
    return torch.tensor([stoi[c] for c in text]), chars
