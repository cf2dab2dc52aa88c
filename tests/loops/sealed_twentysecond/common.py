import random

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def seed_everything(seed=0):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


class AverageMeter:
    def __init__(self):
        self.reset()

    def reset(self):
        self.sum = 0.0
        self.count = 0

    @property
    def avg(self):
        return self.sum / max(self.count, 1)

    def update(self, val, n=1):
        self.sum += float(val) * n
        self.count += n


def digits_images(n=1200, test_size=0.25, seed=0):
    """8x8 digits in [0, 1], shape (N, 1, 8, 8)."""
    x, y = load_digits(return_X_y=True)
    x = (x / 16.0).astype("float32").reshape(-1, 1, 8, 8)
    xtr, xte, ytr, yte = train_test_split(
        x,
        y,
        train_size=n - int(n * test_size),
        test_size=int(n * test_size),
        random_state=seed,
        stratify=y,
    )
    return (
        torch.from_numpy(xtr),
        torch.from_numpy(ytr).long(),
        torch.from_numpy(xte),
        torch.from_numpy(yte).long(),
    )


def token_sequences(n, length=16, vocab=30, n_classes=3, seed=0):
    """Sequences of tokens; the class says which band of tokens is over-represented."""
    g = np.random.RandomState(seed)
    y = g.randint(0, n_classes, n)
    x = g.randint(1, vocab, (n, length))
    band = (vocab - 1) // n_classes
    for i in range(n):
        k = g.randint(3, 6)
        pos = g.choice(length, k, replace=False)
        x[i, pos] = 1 + y[i] * band + g.randint(0, 3, k)
    return torch.from_numpy(x).long(), torch.from_numpy(y).long()


def shapes_segmentation(n, size=16, seed=0):
    """Bright squares and discs on noise; the mask is the shape."""
    g = np.random.RandomState(seed)
    imgs = g.normal(0, 0.25, (n, 1, size, size)).astype("float32")
    masks = np.zeros((n, 1, size, size), dtype="float32")
    yy, xx = np.mgrid[:size, :size]
    for i in range(n):
        cy, cx = g.randint(4, size - 4, 2)
        r = g.randint(2, 5)
        if g.rand() < 0.5:
            m = (np.abs(yy - cy) <= r) & (np.abs(xx - cx) <= r)
        else:
            m = (yy - cy) ** 2 + (xx - cx) ** 2 <= r * r
        masks[i, 0][m] = 1
        imgs[i, 0][m] += 0.8
    return torch.from_numpy(imgs), torch.from_numpy(masks)
