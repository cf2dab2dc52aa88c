"""A second set of recipes by somebody who had seen no code; measured once, open since. With the data they share."""

from functools import lru_cache

import numpy as np
import sklearn.datasets as skd
import torch
from torch.utils.data import DataLoader, TensorDataset


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def f32(a) -> torch.Tensor:
    return torch.tensor(np.asarray(a), dtype=torch.float32)


def split(n: int, train: int, seed: int = 0):
    order = torch.randperm(n, generator=gen(seed))
    return order[:train], order[train:]


def pair(train, val, batch: int, seed: int = 0, drop_last: bool = False):
    """Two loaders from two tuples of tensors."""
    return (
        DataLoader(
            TensorDataset(*train),
            batch_size=batch,
            shuffle=True,
            generator=gen(seed),
            drop_last=drop_last,
        ),
        DataLoader(TensorDataset(*val), batch_size=batch),
    )


@lru_cache
def _digits():
    d = skd.load_digits()
    x = f32(d.images)[:, None]
    y = torch.tensor(d.target, dtype=torch.long)
    tr, va = split(len(x), 1400, 3)
    mean, std = x[tr].mean(), x[tr].std()
    return (x - mean) / std, x / 16, y, tr, va


def digits(unit: bool = False):
    """(x, y), (x, y): 8x8 images, standardised, or within 0 and 1."""
    z, u, y, tr, va = _digits()
    x = u if unit else z
    return (x[tr].clone(), y[tr].clone()), (x[va].clone(), y[va].clone())


@lru_cache
def _table(name: str, train: int):
    d = getattr(skd, "load_" + name)()
    x, first = np.unique(d.data, axis=0, return_index=True)
    x, y = f32(x), np.asarray(d.target)[first]
    tr, va = split(len(x), train, 5)
    return x, torch.tensor(y), tr, va


def table(name: str, train: int, scaled: bool = True):
    """(x, y), (x, y) of a table, by default standardised with what the training part says."""
    x, y, tr, va = _table(name, train)
    if scaled:
        x = (x - x[tr].mean(0)) / x[tr].std(0)
    return (x[tr].clone(), y[tr].clone()), (x[va].clone(), y[va].clone())


@lru_cache
def _text():
    text = "".join(
        getattr(skd, "load_" + n)().DESCR
        for n in ("wine", "breast_cancer", "diabetes", "iris", "digits", "linnerud")
    )
    text = " ".join("".join(c if c.isalpha() or c in ".,'" else " " for c in text.lower()).split())
    vocab = sorted(set(text))
    return torch.tensor([vocab.index(c) for c in text]), len(vocab)


@lru_cache
def _windows(length: int):
    ids, vocab = _text()
    parts: tuple[list, list] = ([], [])
    for k, block in enumerate(ids.split(330)):  # whole passages go to one side or the other
        if len(block) >= length:
            parts[k % 6 == 3].extend(
                map(tuple, block.unfold(0, length, 1 if length < 10 else 4).tolist())
            )
    train = list(dict.fromkeys(parts[0]))
    known = {w[:-1] for w in train}
    val = [w for w in dict.fromkeys(parts[1]) if w[:-1] not in known]
    return torch.tensor(train), torch.tensor(val), vocab


def text_windows(length: int):
    """Windows of characters, (train, val, vocabulary); the validation text lies apart."""
    train, val, vocab = _windows(length)
    return train.clone(), val.clone(), vocab


@lru_cache
def _patches(size: int, stride: int):
    out = []
    for image in skd.load_sample_images().images:
        g = f32(image).permute(2, 0, 1) / 255
        p = g.unfold(1, size, stride).unfold(2, size, stride)
        out.append(p.permute(1, 2, 0, 3, 4).reshape(-1, 3, size, size))
    return out


def patches(size: int, stride: int):
    """Colour patches of the two sample images, one tensor per image, 0 to 1."""
    return [p.clone() for p in _patches(size, stride)]
