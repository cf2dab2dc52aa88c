import inspect
import random
import re

import numpy as np
import torch
from sklearn import datasets


def seed_all(s):
    random.seed(s)
    np.random.seed(s)
    torch.manual_seed(s)


def description_text(*names):
    loaders = {
        "iris": datasets.load_iris,
        "wine": datasets.load_wine,
        "diabetes": datasets.load_diabetes,
        "cancer": datasets.load_breast_cancer,
        "digits": datasets.load_digits,
    }
    return "\n".join(loaders[n]().DESCR for n in (names or loaders))


def module_source(module, limit=None):
    text = inspect.getsource(module)
    return text[:limit] if limit else text


def words_of(text):
    return re.findall(r"[a-z]+|[0-9]+|[^\sa-z0-9]", text.lower())


def digit_images(n_train=1200, n_test=400, seed=0):
    data = datasets.load_digits()
    order = np.random.RandomState(seed).permutation(len(data.target))
    x = torch.tensor(data.images[order] / 16.0, dtype=torch.float32)
    y = torch.tensor(data.target[order])
    return x[:n_train], y[:n_train], x[n_train : n_train + n_test], y[n_train : n_train + n_test]


SUBJECTS = "the cat|a dog|my sister|the old man|our teacher|this robot|a student|the pilot".split("|")
GOOD = "loves|enjoys|adores|praises|admires|recommends".split("|")
BAD = "hates|dislikes|avoids|mocks|regrets|detests".split("|")
OBJECTS = (
    "the movie|a long book|this soup|green tea|the new song|winter walks|that phone|cold pizza".split(
        "|"
    )
)
TAILS = "|very much|every day|without reason|in the evening|at home|since last year".split("|")


def opinion_sentences(n, seed=0, negation=True):
    """Sentences with a sentiment: 1 good, 0 bad; 'never' flips it."""
    rng = random.Random(seed)
    out = []
    for _ in range(n):
        label = rng.randint(0, 1)
        flip = negation and rng.random() < 0.3
        verb = rng.choice(GOOD if label ^ flip else BAD)
        parts = [
            rng.choice(SUBJECTS),
            "never" if flip else "",
            verb,
            rng.choice(OBJECTS),
            rng.choice(TAILS),
        ]
        out.append((" ".join(p for p in parts if p), label))
    return out


class WordVocab:
    def __init__(self, sentences, specials=("[pad]", "[unk]")):
        self.itos = list(specials)
        for s in sentences:
            for w in s.split():
                if w not in self.itos:
                    self.itos.append(w)
        self.stoi = {w: i for i, w in enumerate(self.itos)}

    def __len__(self):
        return len(self.itos)

    def encode(self, sentence):
        return [self.stoi.get(w, self.stoi["[unk]"]) for w in sentence.split()]


def seasonal_series(n, seed=0, noise=0.1):
    rng = np.random.RandomState(seed)
    t = np.arange(n)
    s = (
        np.sin(2 * np.pi * t / 24)
        + 0.5 * np.sin(2 * np.pi * t / 57 + 1.0)
        + 0.3 * np.sin(2 * np.pi * t / 9)
    )
    return torch.tensor(s + noise * rng.randn(n), dtype=torch.float32)
