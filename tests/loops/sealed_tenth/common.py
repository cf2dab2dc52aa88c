"""Data of these loops."""

import numpy as np
import torch
from sklearn import datasets
from sklearn.model_selection import train_test_split


def digits(flat=True, test_size=0.25, seed=0):
    """Digits as float tensors in [0, 1]: x_train, y_train, x_test, y_test."""
    d = datasets.load_digits()
    x = d.data.astype(np.float32) / 16.0
    xa, xb, ya, yb = train_test_split(
        x, d.target, test_size=test_size, random_state=seed, stratify=d.target
    )
    xa, xb = torch.from_numpy(xa), torch.from_numpy(xb)
    if not flat:
        xa, xb = xa.view(-1, 1, 8, 8), xb.view(-1, 1, 8, 8)
    return xa, torch.from_numpy(ya).long(), xb, torch.from_numpy(yb).long()


def tabular(name, test_size=0.25, seed=0):
    """breast_cancer / diabetes / wine, standardized with the statistics of the training part."""
    d = getattr(datasets, "load_" + name)()
    x, y = d.data.astype(np.float32), d.target
    xa, xb, ya, yb = train_test_split(x, y, test_size=test_size, random_state=seed)
    mu, sd = xa.mean(0), xa.std(0) + 1e-7
    xa, xb = (xa - mu) / sd, (xb - mu) / sd
    return (torch.from_numpy(xa), torch.as_tensor(ya), torch.from_numpy(xb), torch.as_tensor(yb))


TEXT = (
    "the wind was a torrent of darkness among the gusty trees. "
    "the moon was a ghostly galleon tossed upon cloudy seas. "
    "the road was a ribbon of moonlight over the purple moor. "
    "and the highwayman came riding, riding, riding. "
    "the highwayman came riding, up to the old inn door. "
    "he had a french cocked hat on his forehead, a bunch of lace at his chin. "
    "a coat of the claret velvet, and breeches of brown doe skin. "
    "they fitted with never a wrinkle. his boots were up to the thigh. "
    "and he rode with a jewelled twinkle, his pistol butts a twinkle. "
    "his rapier hilt a twinkle, under the jewelled sky. "
    "over the cobbles he clattered and clashed in the dark inn yard. "
    "he tapped with his whip on the shutters, but all was locked and barred. "
)


def char_ids(repeat=6):
    chars = sorted(set(TEXT))
    stoi = {c: i for i, c in enumerate(chars)}
    ids = torch.tensor([stoi[c] for c in TEXT * repeat])
    return ids, chars


def series(n=2400, seed=0):
    """An hourly load-like series with daily and weekly cycles, standardized."""
    g = np.random.default_rng(seed)
    t = np.arange(n)
    s = (
        np.sin(2 * np.pi * t / 24)
        + 0.5 * np.sin(2 * np.pi * t / 168 + 1)
        + 0.3 * np.sin(2 * np.pi * t / 12)
    )
    s = s + 0.1 * g.standard_normal(n)
    return torch.tensor((s - s.mean()) / s.std(), dtype=torch.float32)
