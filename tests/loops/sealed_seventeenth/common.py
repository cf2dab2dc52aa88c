import math
import random

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler


def seed_everything(seed=0):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def digits(size=8, channels=1, test_size=0.2):
    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 16.0
    if size != 8:
        images = torch.nn.functional.interpolate(
            images, size=(size, size), mode="bilinear", align_corners=False
        )
    if channels != 1:
        images = images.repeat(1, channels, 1, 1)
    images = (images - 0.3) / 0.37
    labels = torch.tensor(data.target, dtype=torch.long)
    tr, te = train_test_split(
        np.arange(len(labels)), test_size=test_size, random_state=0, stratify=data.target
    )
    return images[tr], labels[tr], images[te], labels[te]


def tabular(name, test_size=0.2):
    loader = {
        "cancer": load_breast_cancer,
        "wine": load_wine,
        "iris": load_iris,
        "diabetes": load_diabetes,
    }[name]
    x, y = loader(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(
        x, y, test_size=test_size, random_state=0, stratify=None if name == "diabetes" else y
    )
    sc = StandardScaler().fit(x_train)
    as_float = lambda a: torch.tensor(a, dtype=torch.float32)
    x_train, x_test = as_float(sc.transform(x_train)), as_float(sc.transform(x_test))
    if name == "diabetes":
        m, s = y_train.mean(), y_train.std()
        return x_train, as_float((y_train - m) / s), x_test, as_float((y_test - m) / s)
    return x_train, torch.tensor(y_train), x_test, torch.tensor(y_test)


def seasonal_series(n=1500, seed=0):
    """Hourly load with a daily and a weekly season."""
    rng = np.random.default_rng(seed)
    t = np.arange(n)
    s = np.sin(2 * np.pi * t / 24) + 0.5 * np.sin(2 * np.pi * t / 168) + 0.1 * rng.standard_normal(n)
    s = (s - s.mean()) / s.std()
    return torch.tensor(s, dtype=torch.float32)


def windows(series, length=24, horizon=1):
    x = series.unfold(0, length + horizon, 1)
    return x[:, :length].unsqueeze(-1).contiguous(), x[:, length:].contiguous()


def sensor_signals(n=1200, length=48, classes=5, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    t = np.arange(length)
    xs = []
    for c in y:
        ph, f = rng.uniform(0, 2 * np.pi), rng.uniform(0.9, 1.1)
        a = 2 * np.pi * t / 16 * f + ph
        w = [
            np.sin(a),
            np.sign(np.sin(a)),
            2 * ((a / (2 * np.pi)) % 1) - 1,
            np.sin(a * (1 + t / length)),
            np.sin(a) * np.exp(-t / 15),
        ][c]
        xs.append(w + 0.2 * rng.standard_normal(length))
    return torch.tensor(np.array(xs), dtype=torch.float32).unsqueeze(1), torch.tensor(y)


LANGS = {
    "it": ("ro ma li ni ca to be ra gi ne", "ini elli otti ano"),
    "ru": ("vlad mi kor tov iv niz pet sha kov", "ov sky enko in"),
    "ja": ("ta ka ya shi mo na to ku ha mi", "moto yama da shi"),
    "de": ("schu ber hoff kra stei mu wal fri", "mann er stein bach"),
}


def surnames(n=1200, max_len=14, seed=0):
    rng = random.Random(seed)
    vocab = "_abcdefghijklmnopqrstuvwxyz"
    xs, ys = [], []
    for _ in range(n):
        c = rng.randrange(len(LANGS))
        syl, end = list(LANGS.values())[c]
        name = "".join(rng.choice(syl.split()) for _ in range(rng.randint(1, 2))) + rng.choice(
            end.split()
        )
        ids = [vocab.index(ch) for ch in name][:max_len]
        xs.append([0] * (max_len - len(ids)) + ids)
        ys.append(c)
    return torch.tensor(xs), torch.tensor(ys), len(vocab)


GOOD = "great lovely superb funny moving brilliant charming fresh".split()
BAD = "awful boring weak dull messy terrible slow flat".split()
REST = "the a movie film plot actor scene was is and of with story ending it this really quite".split()


def reviews(n=1200, length=16, seed=0):
    rng = random.Random(seed)
    vocab = ["<pad>", "not"] + GOOD + BAD + REST
    ix = {w: i for i, w in enumerate(vocab)}
    xs, ys = [], []
    for _ in range(n):
        y = rng.randrange(2)
        words = [rng.choice(REST) for _ in range(rng.randint(7, length - 4))]
        for _ in range(2):
            if rng.random() < 0.3:
                put = ["not", rng.choice(BAD if y else GOOD)]
            else:
                put = [rng.choice(GOOD if y else BAD)]
            p = rng.randrange(len(words))
            words[p:p] = put
        ids = [ix[w] for w in words][:length]
        xs.append(ids + [0] * (length - len(ids)))
        ys.append(y)
    return torch.tensor(xs), torch.tensor(ys), len(vocab)


def description_text():
    """The texts that describe scikit-learn's datasets, as character ids."""
    text = " ".join(
        f().DESCR for f in (load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine)
    )
    text = " ".join(text.lower().split())
    chars = sorted(set(text))
    return torch.tensor([chars.index(c) for c in text]), len(chars)


class CartPole:
    """The classic cart and pole, by hand."""

    def __init__(self, seed=0, limit=200):
        self.rng = np.random.default_rng(seed)
        self.limit = limit

    def reset(self):
        self.s = self.rng.uniform(-0.05, 0.05, 4)
        self.t = 0
        return self.s.astype(np.float32)

    def step(self, action):
        x, v, th, w = self.s
        force = 10.0 if action == 1 else -10.0
        tmp = (force + 0.05 * w * w * math.sin(th)) / 1.1
        acc = (9.8 * math.sin(th) - math.cos(th) * tmp) / (0.5 * (4 / 3 - 0.1 * math.cos(th) ** 2 / 1.1))
        xacc = tmp - 0.05 * acc * math.cos(th) / 1.1
        self.s = np.array([x + 0.02 * v, v + 0.02 * xacc, th + 0.02 * w, w + 0.02 * acc])
        self.t += 1
        fell = abs(self.s[0]) > 2.4 or abs(self.s[2]) > 0.2095
        return self.s.astype(np.float32), 1.0, bool(fell), self.t >= self.limit
