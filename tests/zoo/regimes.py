"""Ways of training: optimizers, schedules, precision, regularisation, on small nets for digits."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim import LBFGS, SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, OneCycleLR, StepLR

from pytest_dlcheck import Recipe, recipe

from .data import digits, halves, loader, tumours, wines


def net(act=nn.ReLU, *, depth=1, width=64, dropout=0.0, init=None):
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(64, width), act(), nn.Dropout(dropout)]
    for _ in range(depth):
        layers += [nn.Linear(width, width), act(), nn.Dropout(dropout)]
    model = nn.Sequential(*(layer for layer in layers if getattr(layer, "p", 1)), nn.Linear(width, 10))
    for layer in model:
        if init and isinstance(layer, nn.Linear):
            init(layer.weight)
            nn.init.zeros_(layer.bias)
    return model


def cnn():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 10),
    )


def on_digits(model, optimizer, *, batch_size=32, **more):
    train, val = halves(*digits())
    return Recipe(
        model=model,
        train_data=loader(*train, batch_size=batch_size),
        val_data=loader(*val, batch_size=128, shuffle=False),
        **{"loss": nn.CrossEntropyLoss(), **more},
        optimizer=optimizer,
    )


@recipe
def sgd_slow_without_momentum():
    """Lr 1e-3 and no momentum: 100 steps change little, and the loss does fall, slowly."""
    model = cnn()
    return on_digits(model, SGD(model.parameters(), lr=1e-3))


@recipe
def sgd_half():
    model = net(nn.Tanh, width=32)
    return on_digits(model, SGD(model.parameters(), lr=0.5), batch_size=64)


@recipe
def adam_1e_4():
    model = net(width=256)
    return on_digits(model, Adam(model.parameters(), lr=1e-4))


@recipe
def rmsprop():
    model = cnn()
    return on_digits(model, RMSprop(model.parameters(), lr=1e-3))


@recipe
def adagrad():
    model = net()
    return on_digits(model, Adagrad(model.parameters(), lr=0.03))


@recipe
def lbfgs_full_batch():
    features, labels = wines()
    model = nn.Sequential(nn.Linear(13, 8), nn.Tanh(), nn.Linear(8, 3))
    return Recipe(
        model=model,
        train_data=[(features, labels)],
        loss=nn.CrossEntropyLoss(),
        optimizer=LBFGS(model.parameters(), max_iter=5, line_search_fn="strong_wolfe"),
    )


class Lion(Optimizer):
    """The sign of a momentum: an optimizer of one's own."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    mean = self.state[p].setdefault("mean", torch.zeros_like(p))
                    p.sub_(group["lr"] * (0.9 * mean + 0.1 * p.grad).sign())
                    mean.lerp_(p.grad, 0.01)


@recipe
def lion():
    model = cnn()
    return on_digits(model, Lion(model.parameters(), lr=5e-4))


@recipe
def parameter_groups():
    """Biases without decay, the head at ten times the rate."""
    model = cnn()
    biases = [p for p in model.parameters() if p.dim() == 1]
    head = [model[-1].weight]
    rest = [p for p in model.parameters() if p.dim() > 1 and p is not head[0]]
    groups = [{"params": rest}, {"params": biases, "weight_decay": 0.0}, {"params": head, "lr": 1e-2}]
    return on_digits(model, AdamW(groups, lr=1e-3, weight_decay=0.1))


@recipe
def warm_up_then_cosine():
    """The rate starts at exactly 0 and peaks at step 30."""
    model = cnn()
    adam = AdamW(model.parameters(), lr=3e-3)
    shape = LambdaLR(adam, lambda step: min(step / 30, 0.5 * (1 + torch.tensor(step / 64).cos().item())))
    return on_digits(model, adam, scheduler=shape)


@recipe
def one_cycle():
    model = cnn()
    sgd = SGD(model.parameters(), lr=0.1, momentum=0.9)
    return on_digits(model, sgd, scheduler=OneCycleLR(sgd, max_lr=0.1, total_steps=300))


@recipe
def epoch_schedule():
    model = net(nn.GELU)
    adam = Adam(model.parameters(), lr=3e-3)
    return on_digits(model, adam, scheduler=StepLR(adam, 1, 0.3), scheduler_interval="epoch")


@recipe
def accumulated():
    model = cnn()
    sgd = SGD(model.parameters(), lr=0.05, momentum=0.9)
    return on_digits(
        model, sgd, batch_size=16, accumulate=4, scheduler=CosineAnnealingLR(sgd, 200), max_grad_norm=1.0
    )


@recipe
def clipped_always():
    model = net(nn.Tanh)
    return on_digits(model, SGD(model.parameters(), lr=0.5), max_grad_norm=0.2)


@recipe
def bf16_mixed():
    model = cnn()
    return on_digits(model, AdamW(model.parameters(), lr=2e-3), precision="bf16-mixed")


@recipe
def fp16_mixed():
    model = net(nn.GELU, depth=2)
    return on_digits(model, AdamW(model.parameters(), lr=2e-3), precision="fp16-mixed")


@recipe
def deep_tanh_xavier():
    model = net(nn.Tanh, depth=4, init=lambda w: nn.init.xavier_uniform_(w, 5 / 3))
    return on_digits(model, SGD(model.parameters(), lr=0.05, momentum=0.9))


@recipe
def sigmoid_xavier():
    """Three sigmoid layers, as in the textbooks of old: slow to start, then it learns."""
    model = net(nn.Sigmoid, depth=2, init=nn.init.xavier_normal_)
    return on_digits(model, Adam(model.parameters(), lr=1e-2))


@recipe
def self_normalising():
    model = net(nn.SELU, depth=5, init=lambda w: nn.init.kaiming_normal_(w, nonlinearity="linear"))
    return on_digits(model, Adam(model.parameters(), lr=1e-3))


@recipe
def he_relu_six_layers():
    model = net(depth=5, init=lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"))
    return on_digits(model, Adam(model.parameters(), lr=1e-3))


@recipe
def double_precision():
    features, labels = tumours()
    model = nn.Sequential(nn.Linear(30, 16), nn.Softplus(), nn.Linear(16, 2)).double()
    return Recipe(
        model=model,
        train_data=loader(features.double(), labels),
        loss=nn.CrossEntropyLoss(),
        optimizer=Adam(model.parameters(), lr=3e-3),
    )
