"""Data and small environments that several loops share."""

import math

import numpy as np
import torch
from sklearn import datasets
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset


def digits(test_size=0.25):
    x, y = datasets.load_digits(return_X_y=True)
    xtr, xte, ytr, yte = train_test_split(x / 16.0, y, test_size=test_size, random_state=0, stratify=y)
    f = lambda a: torch.tensor(a, dtype=torch.float32)
    i = lambda a: torch.tensor(a, dtype=torch.long)
    return f(xtr), i(ytr), f(xte), i(yte)


def digit_images(test_size=0.25):
    xtr, ytr, xte, yte = digits(test_size)
    return xtr.view(-1, 1, 8, 8), ytr, xte.view(-1, 1, 8, 8), yte


def loader(*tensors, batch_size=64, shuffle=True, **kw):
    return DataLoader(TensorDataset(*tensors), batch_size=batch_size, shuffle=shuffle, **kw)


def corpus():
    names = ("digits", "breast_cancer", "diabetes", "wine", "iris")
    text = "\n".join(getattr(datasets, "load_" + n)().DESCR for n in names).lower()
    chars = sorted(set(text))
    stoi = {c: k for k, c in enumerate(chars)}
    return torch.tensor([stoi[c] for c in text]), chars


def standardized(load, test_size=0.25):
    x, y = load(return_X_y=True)
    xtr, xte, ytr, yte = train_test_split(x, y, test_size=test_size, random_state=0)
    mu, sd = xtr.mean(0), xtr.std(0)
    f = lambda a: torch.tensor(a, dtype=torch.float32)
    return f((xtr - mu) / sd), ytr, f((xte - mu) / sd), yte


class CartPoles:
    """n cart-poles side by side (the usual equations)."""

    def __init__(self, n, seed=0, limit=200):
        self.n, self.limit = n, limit
        self.rng = np.random.RandomState(seed)
        self.s = self._fresh(n)
        self.t = np.zeros(n, dtype=int)
        self.finished = []

    def _fresh(self, k):
        return self.rng.uniform(-0.05, 0.05, size=(k, 4))

    def obs(self):
        return torch.tensor(self.s, dtype=torch.float32)

    def step(self, actions):
        x, v, th, om = self.s.T
        force = np.where(np.asarray(actions) == 1, 10.0, -10.0)
        c, s = np.cos(th), np.sin(th)
        tmp = (force + 0.05 * om**2 * s) / 1.1
        acc_th = (9.8 * s - c * tmp) / (0.5 * (4.0 / 3.0 - 0.1 * c**2 / 1.1))
        acc_x = tmp - 0.05 * acc_th * c / 1.1
        self.s = np.stack([x + 0.02 * v, v + 0.02 * acc_x, th + 0.02 * om, om + 0.02 * acc_th], 1)
        self.t += 1
        fallen = (np.abs(self.s[:, 0]) > 2.4) | (np.abs(self.s[:, 2]) > 12 * math.pi / 180)
        over = fallen | (self.t >= self.limit)
        nxt = self.obs()
        for k in np.nonzero(over)[0]:
            self.finished.append(int(self.t[k]))
            self.s[k] = self._fresh(1)[0]
            self.t[k] = 0
        f = lambda a: torch.tensor(a, dtype=torch.float32)
        return nxt, f(np.ones(self.n)), f(fallen.astype(float)), over
