"""Loops that seed a generator again and again, by mistake or for a reason."""

from __future__ import annotations

import random

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

from .data import digits
from .faults import fault
from .healthy import mlp

STEPS = 40


def batches(steps=STEPS):
    images, labels = digits()
    for step in range(steps):
        at = (step * 32) % 1600
        yield images[at : at + 32].flatten(1), labels[at : at + 32]


def noisy(x):
    return x + 0.3 * torch.randn_like(x)


def denoising(before=lambda step: None, *, after=lambda step, model: None, add=noisy):
    """What was added to the inputs is taken off again."""
    model = mlp(64, 48, 64)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for step, (x, _) in enumerate(batches()):
        before(step)
        optimizer.zero_grad()
        F.mse_loss(model(add(x)), x).backward()
        optimizer.step()
        after(step, model)


def dropping(before=lambda step: None, *, after=lambda step, model: None, run=lambda model, x: model(x)):
    """A classifier with dropout, that torch's generator makes."""
    model = mlp(64, 48, 10, dropout=0.3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step, (x, y) in enumerate(batches()):
        before(step)
        optimizer.zero_grad()
        F.cross_entropy(run(model, x), y).backward()
        optimizer.step()
        after(step, model)


@fault(denoising, "batches_are_fresh", words=("torch.manual_seed(7) (faults_of_seeds.py:",))
def noise_seeded_in_every_step():
    denoising(lambda _: torch.manual_seed(7))


@fault(dropping, "batches_are_fresh", words=("same random numbers",))
def dropout_seeded_in_every_step():
    def set_seed(_):
        random.seed(3)
        np.random.seed(3)  # noqa: NPY002  the global one
        torch.random.manual_seed(3)

    dropping(set_seed)


def noisy_by_numpy(x):
    return x + torch.from_numpy(np.random.normal(0, 0.3, x.shape)).float()  # noqa: NPY002  as above


def dropout_computed_twice():
    dropping(run=lambda model, x: checkpoint(model, x, use_reentrant=False))


@fault(dropout_computed_twice, "batches_are_fresh", words=("same random numbers",))
def dropout_computed_twice_and_seeded_in_every_step():
    dropping(
        lambda _: torch.manual_seed(3), run=lambda model, x: checkpoint(model, x, use_reentrant=False)
    )


def augmented():
    denoising(add=noisy_by_numpy)


@fault(augmented, "batches_are_fresh", words=("numpy.random.seed(5)",))
def augmentation_seeded_in_every_step():
    denoising(lambda _: np.random.seed(5), add=noisy_by_numpy)  # noqa: NPY002  as above


@fault(dropping, "batches_are_fresh", words=("same random numbers",))
def pictures_that_leave_the_seed_to_the_training():
    """What is sampled after each step is drawn from a seed, and the next step draws on from there."""

    def sample(_, model):
        torch.manual_seed(1)
        with torch.no_grad():
            model.eval()(torch.randn(4, 64))
        model.train()

    dropping(after=sample)


def one_batch_with_noise():
    x = digits()[0][:32].flatten(1)
    _overfit(x, lambda: None)


@fault(one_batch_with_noise, "batches_are_fresh", words=("is that meant",), advice=True)
def one_batch_and_the_same_noise():
    """May be meant: a batch and its noise are learned by heart."""
    x = digits()[0][:32].flatten(1)
    _overfit(x, lambda: torch.manual_seed(7))


def _overfit(x, seed):
    model = mlp(64, 48, 64, dropout=0.1)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(STEPS):
        seed()
        optimizer.zero_grad()
        F.mse_loss(model(x), x).backward()
        optimizer.step()


class Projected(nn.Module):
    """Random features that are drawn anew, and always the same."""

    def __init__(self, seed):
        super().__init__()
        self.head, self.seed = nn.Linear(32, 10), seed

    def forward(self, x):
        if self.seed is not None:
            torch.manual_seed(self.seed)
        return self.head(torch.cos(x @ torch.randn(64, 32)))


def _projecting(seed):
    model = Projected(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x, y in batches():
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


def projected_anew():
    _projecting(None)


@fault(projected_anew, "batches_are_fresh", words=("is that meant",), advice=True)
def projected_by_a_seed():
    _projecting(3)


# -- healthy neighbours ---------------------------------------------------------------------------


def another_seed_in_each_step():
    denoising(torch.manual_seed)


def a_seed_per_epoch():
    denoising(lambda step: torch.manual_seed(4) if step % 5 == 0 else None)


def a_seed_and_nothing_drawn():
    denoising(lambda _: torch.manual_seed(4), add=lambda x: x)


def a_seed_for_an_epoch_of_one_batch():
    """Only the loader draws: the order of all samples."""
    images, labels = digits()
    loader = DataLoader(TensorDataset(images[:256].flatten(1), labels[:256]), 200, shuffle=True)
    model = mlp(64, 48, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(STEPS):
        torch.manual_seed(4)
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            if epoch % 2:
                break


def trials_of_one_seed():
    for width in (16, 32, 48):
        torch.manual_seed(4)
        model = mlp(64, width, 64)
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
        for x, _ in batches(20):
            optimizer.zero_grad()
            F.mse_loss(model(noisy(x)), x).backward()
            optimizer.step()


def pictures_in_a_fork():
    def sample(_, model):
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(1)
            model(torch.randn(4, 64))

    denoising(after=sample)


def pictures_in_a_fork_of_a_training_that_draws_nothing():
    def sample(_, model):
        with torch.random.fork_rng():
            torch.manual_seed(1)
            torch.randn(4, 64)

    denoising(after=sample, add=lambda x: x)


def pictures_of_a_training_that_draws_nothing():
    def sample(_, model):
        torch.manual_seed(1)
        with torch.no_grad():
            torch.rand(1) + model(torch.randn(4, 64))

    denoising(after=sample, add=lambda x: x)


def two_models_under_the_same_draws():
    models = mlp(64, 48, 64), mlp(64, 24, 64)
    optimizers = [torch.optim.Adam(model.parameters(), lr=2e-3) for model in models]
    for step, (x, _) in enumerate(batches()):
        for model, optimizer in zip(models, optimizers, strict=True):
            torch.manual_seed(step)
            optimizer.zero_grad()
            F.mse_loss(model(noisy(x)), x).backward()
            optimizer.step()


def both_passes_of_a_step_under_the_same_draws():
    """As in SAM: the gradient is taken again, where the first has led, with the same dropout."""
    model = mlp(64, 48, 10, dropout=0.3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for step, (x, y) in enumerate(batches()):
        for sign in (0.05, -0.05):
            torch.manual_seed(step)
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            with torch.no_grad():
                for p in model.parameters():
                    p.add_(sign * p.grad.sign())
        optimizer.step()


def forwards_under_the_same_draws():
    """A reversible layer's way: what was drawn is drawn once more."""

    def twice(model, x):
        state = torch.get_rng_state()
        first = model(x)
        torch.set_rng_state(state)
        return (first + model(x)) / 2

    dropping(run=twice)


def a_closure_that_draws_the_same():
    """A line search compares losses under the same noise."""
    x = digits()[0][:200].flatten(1)
    model = mlp(64, 16, 64)
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4)

    def closure():
        torch.manual_seed(2)
        optimizer.zero_grad()
        loss = F.mse_loss(model(noisy(x)), x)
        loss.backward()
        return loss

    for _ in range(12):
        optimizer.step(closure)


QUIET = [
    another_seed_in_each_step,
    a_seed_per_epoch,
    a_seed_and_nothing_drawn,
    a_seed_for_an_epoch_of_one_batch,
    trials_of_one_seed,
    pictures_in_a_fork,
    pictures_in_a_fork_of_a_training_that_draws_nothing,
    pictures_of_a_training_that_draws_nothing,
    two_models_under_the_same_draws,
    both_passes_of_a_step_under_the_same_draws,
    dropout_computed_twice,
    forwards_under_the_same_draws,
    a_closure_that_draws_the_same,
]
"""None of them is told that steps draw the same."""
