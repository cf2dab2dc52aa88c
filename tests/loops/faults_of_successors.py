"""Models and tables that give way to another in mid-training, under the optimizer of the old."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import nn

from .data import diabetes, tumours
from .faults import fault
from .healthy import mlp


def _regressor():
    return nn.Sequential(nn.Linear(10, 48), nn.SiLU(), nn.Dropout(0.1), nn.Linear(48, 1))


class _Best:
    """Remembers the best model of a regression, and gives it back after some epochs."""

    def __init__(self):
        self.model, self.best, self.least = _regressor(), None, float("inf")
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=3e-3)

    def scores(self):
        rows, target = diabetes()
        self.model.eval()
        with torch.no_grad():
            loss = F.mse_loss(self.model(rows[320:]), target[320:]).item()
        if loss < self.least:
            self.least, self.best = loss, copy.deepcopy(self.model)

    def trains(self):
        rows, target = diabetes()
        self.model.train()
        for i in torch.randperm(320).split(20):
            loss = F.mse_loss(self.model(rows[i]), target[i])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()


def _with_best(gives_back):
    training = _Best()
    for epoch in range(10):
        if epoch == 4:
            gives_back(training)
        training.trains()
        training.scores()


def the_best_is_loaded():
    _with_best(lambda training: training.model.load_state_dict(training.best.state_dict()))


@fault(the_best_is_loaded, "optimizer_covers_model", words=("was replaced by another object",))
def the_best_comes_back_as_another_object():
    def gives_back(training):
        training.model = copy.deepcopy(training.best)

    _with_best(gives_back)


def _after_a_trial(begins_anew):
    """A few steps that show that all runs, and then the training."""
    rows, labels = tumours()
    model = mlp(30, 64, 1)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)

    def runs(model, optimizer, steps):
        for _ in range(steps):
            i = torch.randint(512, (32,))
            optimizer.zero_grad(set_to_none=False)
            F.binary_cross_entropy_with_logits(model(rows[i]).squeeze(1), labels[i]).backward()
            optimizer.step()

    runs(model, optimizer, 5)
    runs(*begins_anew(model, optimizer), 120)


def begun_anew_with_its_optimizer():
    def begins_anew(*_):
        model = mlp(30, 64, 1)
        return model, torch.optim.RMSprop(model.parameters(), lr=1e-3)

    _after_a_trial(begins_anew)


@fault(begun_anew_with_its_optimizer, "optimizer_covers_model", words=("by another object",))
def begun_anew_under_the_optimizer_of_the_trial():
    _after_a_trial(lambda _, optimizer: (mlp(30, 64, 1), optimizer))


class _Shop(nn.Module):
    """Tells how well a customer likes an article."""

    def __init__(self, customers=60, articles=40):
        super().__init__()
        self.customers, self.articles = nn.Embedding(customers, 12), nn.Embedding(articles, 12)
        self.mix = nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, pairs):
        both = [self.customers(pairs[:, 0]), self.articles(pairs[:, 1])]
        return self.mix(torch.cat(both, 1)).squeeze(1)

    def takes_in(self, articles):
        """New ones come after those that are known."""
        old = self.articles.weight.data
        self.articles = nn.Embedding(articles, 12)
        self.articles.weight.data[: len(old)] = old


def _with_new_articles(tells):
    draws = torch.Generator().manual_seed(5)
    likes = torch.randn(60, 3, generator=draws) @ torch.randn(3, 70, generator=draws)
    model = _Shop()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)

    def sells(articles, steps):
        for _ in range(steps):
            pairs = torch.stack([torch.randint(60, (64,)), torch.randint(articles, (64,))], 1)
            loss = F.mse_loss(model(pairs), likes[pairs[:, 0], pairs[:, 1]])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    sells(40, 60)
    model.takes_in(70)
    optimizer = tells(model, optimizer) or optimizer
    sells(70, 120)


def new_articles_with_a_new_optimizer():
    _with_new_articles(lambda model, _: torch.optim.Adam(model.parameters(), lr=4e-3))


@fault(new_articles_with_a_new_optimizer, "optimizer_covers_model", words=("came into the model",))
def new_articles_that_the_optimizer_is_not_told_of():
    _with_new_articles(lambda *_: None)


# -- healthy neighbours ---------------------------------------------------------------------------


def new_articles_in_the_old_group():
    def tells(model, optimizer):
        optimizer.param_groups[0]["params"] = list(model.parameters())

    _with_new_articles(tells)


def the_best_comes_back_with_an_optimizer_of_its_own():
    def gives_back(training):
        training.model = copy.deepcopy(training.best)
        training.optimizer = torch.optim.Adam(training.model.parameters(), lr=3e-3)

    _with_best(gives_back)


def _pretrained():
    training = _Best()
    training.trains()
    return training


def copies_learn_and_the_model_is_told_where_they_went():
    """Reptile by an optimizer: a copy is trained by hand, and the way it went is the gradient."""
    training, (rows, target) = _pretrained(), diabetes()
    fast = copy.deepcopy(training.model)
    for _ in range(60):
        fast.load_state_dict(training.model.state_dict())
        for i in torch.randperm(320).split(20)[:3]:
            fast.zero_grad()
            F.mse_loss(fast(rows[i]), target[i]).backward()
            with torch.no_grad():
                for p in fast.parameters():
                    p -= 0.02 * p.grad
        training.optimizer.zero_grad()
        for p, q in zip(training.model.parameters(), fast.parameters(), strict=True):
            p.grad = (p - q).detach()
        training.optimizer.step()


def gradients_of_a_copy_are_handed_over():
    """A worker's own copy computes them, as where several processes share one model."""
    training, (rows, target) = _pretrained(), diabetes()
    worker = copy.deepcopy(training.model)
    for _ in range(60):
        worker.load_state_dict(training.model.state_dict())
        worker.zero_grad()
        i = torch.randint(320, (20,))
        F.mse_loss(worker(rows[i]), target[i]).backward()
        for p, q in zip(training.model.parameters(), worker.parameters(), strict=True):
            p.grad = q.grad.clone()
        training.optimizer.step()


def a_narrow_copy_computes_and_the_wide_one_is_stepped():
    """Master weights as they were kept before autocast: ``.data`` leaves no sign in the gradients."""
    wide, (rows, target) = _regressor(), diabetes()
    narrow = copy.deepcopy(wide).bfloat16()
    optimizer = torch.optim.Adam(wide.parameters(), lr=3e-3)
    for p in wide.parameters():
        p.grad = torch.zeros_like(p)
    for _ in range(100):
        i = torch.randint(442, (20,))
        narrow.zero_grad()
        F.mse_loss(narrow(rows[i].bfloat16()).float(), target[i]).backward()
        for p, q in zip(wide.parameters(), narrow.parameters(), strict=True):
            p.grad.data.copy_(q.grad.data)
        optimizer.step()
        narrow.load_state_dict(wide.state_dict())


def inputs_are_changed_by_a_copy_while_the_optimizer_steps_on():
    """Epochs in turn: the model learns, or rows are moved to what a fixed copy takes for more."""
    training, (rows, target) = _pretrained(), diabetes()
    fixed = copy.deepcopy(training.model).eval()
    moved = rows[:320].clone().requires_grad_()
    for epoch in range(6):
        for i in torch.randperm(320).split(20):
            training.optimizer.zero_grad()
            if epoch % 2:
                fixed(moved[i]).mean().neg().backward()
                moved.data -= 0.1 * moved.grad.sign()
                moved.grad = None
            else:
                F.mse_loss(training.model(moved.detach()[i]), target[i]).backward()
            training.optimizer.step()


QUIET = [
    new_articles_in_the_old_group,
    the_best_comes_back_with_an_optimizer_of_its_own,
    copies_learn_and_the_model_is_told_where_they_went,
    gradients_of_a_copy_are_handed_over,
    a_narrow_copy_computes_and_the_wide_one_is_stepped,
    inputs_are_changed_by_a_copy_while_the_optimizer_steps_on,
]
"""Loops that are meant so."""
