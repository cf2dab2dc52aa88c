"""Data and small helpers shared by the loops."""

import numpy as np
import torch
from sklearn import datasets


def seed_all(seed=0):
    torch.manual_seed(seed)
    np.random.seed(seed)


def digit_images():
    d = datasets.load_digits()
    x = torch.tensor(d.images, dtype=torch.float32).unsqueeze(1) / 16.0
    y = torch.tensor(d.target, dtype=torch.long)
    return x, y


def digit_split(n_test=400, seed=0):
    x, y = digit_images()
    g = torch.Generator().manual_seed(seed)
    perm = torch.randperm(len(x), generator=g)
    x, y = x[perm], y[perm]
    return x[n_test:], y[n_test:], x[:n_test], y[:n_test]


def corpus():
    parts = [
        f().DESCR
        for f in (
            datasets.load_digits,
            datasets.load_breast_cancer,
            datasets.load_diabetes,
            datasets.load_wine,
            datasets.load_iris,
        )
    ]
    return "\n".join(parts)


def number_words(n):
    ones = (
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
        "sixteen seventeen eighteen nineteen"
    ).split()
    tens = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()
    if n >= 1000:
        rest = number_words(n % 1000) if n % 1000 else []
        return number_words(n // 1000) + ["thousand"] + rest
    if n >= 100:
        rest = number_words(n % 100) if n % 100 else []
        return [ones[n // 100], "hundred"] + rest
    if n >= 20:
        return [tens[n // 10]] + ([ones[n % 10]] if n % 10 else [])
    return [ones[n]]


class VecCartPole:
    """The classic cart-pole, n copies at once, resetting on their own."""

    def __init__(self, n, seed=0, limit=200):
        self.n, self.limit = n, limit
        self.rng = np.random.default_rng(seed)
        self.s = self.rng.uniform(-0.05, 0.05, (n, 4))
        self.t = np.zeros(n, int)

    def obs(self):
        return torch.tensor(self.s, dtype=torch.float32)

    def step(self, action):
        x, v, th, w = self.s.T
        force = np.where(action == 1, 10.0, -10.0)
        cos, sin = np.cos(th), np.sin(th)
        temp = (force + 0.05 * w**2 * sin) / 1.1
        thacc = (9.8 * sin - cos * temp) / (0.5 * (4 / 3 - 0.1 * cos**2 / 1.1))
        xacc = temp - 0.05 * thacc * cos / 1.1
        self.s = np.stack([x + 0.02 * v, v + 0.02 * xacc, th + 0.02 * w, w + 0.02 * thacc], 1)
        self.t += 1
        fell = (np.abs(self.s[:, 0]) > 2.4) | (np.abs(self.s[:, 2]) > 0.2095)
        done = fell | (self.t >= self.limit)
        lengths = self.t[done].copy()
        nxt = self.obs()
        k = int(done.sum())
        if k:
            self.s[done] = self.rng.uniform(-0.05, 0.05, (k, 4))
            self.t[done] = 0
        return nxt, torch.ones(self.n), torch.tensor(fell), torch.tensor(done), lengths


class GridWorld:
    """A small grid with walls; one-hot observations; +1 at the goal, a small cost a step."""

    moves = [(-1, 0), (1, 0), (0, -1), (0, 1)]
    walls = {(1, 1), (1, 2), (1, 3), (3, 2), (3, 3), (3, 4), (3, 5)}

    def __init__(self, size=6, seed=0, limit=40):
        self.size, self.limit = size, limit
        self.rng = np.random.default_rng(seed)
        self.goal = (size - 1, size - 1)
        self.n_states = size * size

    def cells(self):
        return [
            (r, c)
            for r in range(self.size)
            for c in range(self.size)
            if (r, c) not in self.walls and (r, c) != self.goal
        ]

    def observe(self):
        o = torch.zeros(self.n_states)
        o[self.pos[0] * self.size + self.pos[1]] = 1.0
        return o

    def reset(self, pos=None):
        cells = self.cells()
        self.pos = pos or cells[self.rng.integers(len(cells))]
        self.t = 0
        return self.observe()

    def step(self, a):
        r, c = self.pos[0] + self.moves[a][0], self.pos[1] + self.moves[a][1]
        if 0 <= r < self.size and 0 <= c < self.size and (r, c) not in self.walls:
            self.pos = (r, c)
        self.t += 1
        done = self.pos == self.goal
        return self.observe(), (1.0 if done else -0.01), done, self.t >= self.limit
