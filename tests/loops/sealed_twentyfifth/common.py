"""Small data helpers shared by the loops."""

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine


def seed_all(seed):
    np.random.seed(seed)
    torch.manual_seed(seed)


def daily_demand(n_days=700, seed=0):
    """Demand of one product: trend, week, year, price and noise."""
    r = np.random.RandomState(seed)
    t = np.arange(n_days)
    price = 1.0 + 0.25 * np.sin(t / 37.0) + 0.05 * r.randn(n_days)
    week = np.array([0.0, 0.1, 0.15, 0.2, 0.6, 1.0, 0.7])[t % 7]
    y = (
        3
        + 0.0005 * t
        + week
        + 0.8 * np.sin(2 * np.pi * t / 90)
        - 1.2 * (price - 1)
        + 0.12 * r.randn(n_days)
    )
    return y.astype("float32"), price.astype("float32")


def ratings(n_users=150, n_items=80, per_user=20, seed=0):
    """(user, item, rating), with genres and ages behind the taste; also item features."""
    r = np.random.RandomState(seed)
    k = 4
    u = r.randn(n_users, k)
    v = r.randn(n_items, k)
    feats = np.concatenate([v + 0.2 * r.randn(n_items, k), r.randn(n_items, 4)], 1)
    rows = []
    for i in range(n_users):
        for j in r.choice(n_items, per_user, replace=False):
            rows.append((i, j, u[i] @ v[j] / 2 + 0.2 * r.randn()))
    rows = np.array(rows)
    r.shuffle(rows)
    return rows, feats.astype("float32")


def loans(n=1600, seed=0):
    """A credit table: five numbers, two categories, a yes or no."""
    r = np.random.RandomState(seed)
    num = r.randn(n, 5)
    job = r.randint(0, 6, n)
    region = r.randint(0, 8, n)
    jw, rw = r.randn(6), 0.5 * r.randn(8)
    z = 1.5 * num[:, 0] - num[:, 1] * num[:, 2] + 0.8 * jw[job] + rw[region] + 0.3 * r.randn(n)
    return num.astype("float32"), np.stack([job, region], 1), (z > 0).astype("int64")


def table(name):
    d = {
        "wine": load_wine,
        "cancer": load_breast_cancer,
        "diabetes": load_diabetes,
        "digits": load_digits,
    }[name]()
    return d.data.astype("float32"), d.target
