"""Loops that decay the wrong group of parameters, beside loops that choose what they decay."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .faults import fault

DECAY = 0.1


class Norms(nn.Module):
    """Words, layers and a norm."""

    def __init__(self):
        super().__init__()
        self.words, self.one, self.norm = nn.Embedding(20, 16), nn.Linear(16, 16), nn.LayerNorm(16)
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        return self.head(F.relu(self.norm(self.one(self.words(x).mean(1)))))


def _trained(groups, model=None, optimizer=torch.optim.AdamW):
    model = Norms() if model is None else model
    x = torch.randint(0, 20, (256, 6))
    y = x.sum(1) % 3
    chosen = optimizer(groups(model), lr=3e-3, weight_decay=0.0)
    for _ in range(2):
        for rows in torch.randperm(len(x)).split(32):
            chosen.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            chosen.step()


def vectors(model):
    return [p for p in model.parameters() if p.dim() == 1]


def matrices(model):
    return [p for p in model.parameters() if p.dim() > 1]


def matrices_alone():
    _trained(
        lambda m: [{"params": matrices(m), "weight_decay": DECAY}, {"params": vectors(m)}],
    )


@fault(matrices_alone, "parameters_update", words=("the wrong group is regularised",))
def vectors_alone():
    _trained(lambda m: [{"params": matrices(m)}, {"params": vectors(m), "weight_decay": DECAY}])


@fault(matrices_alone, "parameters_update", words=("the wrong group is regularised",))
def biases_alone():
    def groups(model):
        named = list(model.named_parameters())
        return [
            {"params": [p for n, p in named if n.endswith("bias")], "weight_decay": DECAY},
            {"params": [p for n, p in named if not n.endswith("bias")]},
        ]

    _trained(groups, optimizer=torch.optim.SGD)


def all_decayed():
    _trained(lambda m: [{"params": m.parameters(), "weight_decay": DECAY}])


def none_decayed():
    _trained(lambda m: m.parameters())


def words_without_decay():
    def groups(model):
        rest = [p for p in model.parameters() if p is not model.words.weight]
        return [{"params": [model.words.weight]}, {"params": rest, "weight_decay": DECAY}]

    _trained(groups)


def only_biases_are_trained():
    def groups(model):
        for parameter in matrices(model):
            parameter.requires_grad_(False)
        return [{"params": vectors(model), "weight_decay": DECAY}]

    _trained(groups)


def biases_and_words_are_trained():
    def groups(model):
        model.one.weight.requires_grad_(False)
        model.head.weight.requires_grad_(False)
        return [
            {"params": [model.words.weight]},
            {"params": vectors(model), "weight_decay": DECAY},
        ]

    _trained(groups)


def a_gate_is_kept_small():
    class Gated(Norms):
        def __init__(self):
            super().__init__()
            self.gate = nn.Parameter(torch.ones(16))

        def forward(self, x):
            return self.head(F.relu(self.norm(self.one(self.gate * self.words(x).mean(1)))))

    def groups(model):
        rest = [p for p in model.parameters() if p is not model.gate]
        return [{"params": rest}, {"params": [model.gate], "weight_decay": DECAY}]

    _trained(groups, Gated())


QUIET = [
    *(all_decayed, none_decayed, words_without_decay, only_biases_are_trained),
    *(biases_and_words_are_trained, a_gate_is_kept_small),
]
