"""Data and a small environment shared by the loops of this package."""

import numpy as np
import torch
from sklearn import datasets
from sklearn.model_selection import train_test_split


def digits(flat=False, seed=0, test_size=0.25):
    d = datasets.load_digits()
    X = (d.data if flat else d.images[:, None]).astype(np.float32) / 16.0
    X = (X - 0.305) / 0.376
    a, b, c, e = train_test_split(X, d.target, test_size=test_size, random_state=seed, stratify=d.target)
    return torch.tensor(a), torch.tensor(c), torch.tensor(b), torch.tensor(e)


def corpus():
    loaders = [
        datasets.load_breast_cancer,
        datasets.load_diabetes,
        datasets.load_wine,
        datasets.load_iris,
        datasets.load_digits,
        datasets.load_linnerud,
    ]
    text = "\n".join(fn().DESCR for fn in loaders)
    return "".join(ch for ch in text.lower() if ch in "abcdefghijklmnopqrstuvwxyz .,\n")


class VecCartPole:
    """The classic cart-pole, many at once; a finished one starts again at once."""

    def __init__(self, n, seed=0, limit=200):
        self.n, self.limit = n, limit
        self.rng = np.random.default_rng(seed)
        self.state = self.rng.uniform(-0.05, 0.05, (n, 4))
        self.t = np.zeros(n, dtype=int)

    def reset(self):
        self.state = self.rng.uniform(-0.05, 0.05, (self.n, 4))
        self.t[:] = 0
        return self.state.astype(np.float32)

    def step(self, action):
        x, xd, th, thd = self.state.T
        force = np.where(action == 1, 10.0, -10.0)
        cos, sin = np.cos(th), np.sin(th)
        tmp = (force + 0.05 * thd**2 * sin) / 1.1
        thacc = (9.8 * sin - cos * tmp) / (0.5 * (4 / 3 - 0.1 * cos**2 / 1.1))
        xacc = tmp - 0.05 * thacc * cos / 1.1
        self.state = np.stack([x + 0.02 * xd, xd + 0.02 * xacc, th + 0.02 * thd, thd + 0.02 * thacc], 1)
        self.t += 1
        fell = (np.abs(self.state[:, 0]) > 2.4) | (np.abs(self.state[:, 2]) > 0.2095)
        done = fell | (self.t >= self.limit)
        lengths = self.t[done].copy()
        if done.any():
            self.state[done] = self.rng.uniform(-0.05, 0.05, (int(done.sum()), 4))
            self.t[done] = 0
        return self.state.astype(np.float32), np.ones(self.n, dtype=np.float32), done, lengths
