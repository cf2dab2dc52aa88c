"""Loops that cut the same rows from their data at every step, by mistake or for a reason."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from .data import diabetes, digits
from .faults import fault
from .healthy import mlp

SIZE = 50


def flat_net():
    return nn.Sequential(nn.Flatten(), mlp(64, 48, 10))


def _step(model, optimizer, inputs, targets, compare=F.cross_entropy):
    optimizer.zero_grad()
    compare(model(inputs), targets).backward()
    optimizer.step()


def _epochs(cut, validate, *, epochs=3):
    images, labels = digits()
    images, labels, held_out, truth = images[:1000].clone(), labels[:1000], images[1000:], labels[1000:]
    model = flat_net()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(epochs):
        model.train()
        for i in range(0, len(images), SIZE):
            _step(model, optimizer, cut(images, i), cut(labels, i))
        if validate:
            model.eval()
            with torch.no_grad():
                F.cross_entropy(model(held_out), truth).item()


def slices_that_move_on():
    _epochs(lambda data, i: data[i : i + SIZE], validate=True)


@fault(slices_that_move_on, "batches_are_fresh", words=("one batch for ever",), advice=True)
def slices_of_the_first_rows():
    _epochs(lambda data, _: data[:SIZE], validate=True)


@fault(slices_that_move_on, "batches_are_fresh", words=("one batch for ever",), advice=True)
def slices_of_the_first_rows_without_validation():
    _epochs(lambda data, _: data[:SIZE], validate=False)


@fault(slices_that_move_on, "batches_are_fresh", words=("one batch for ever",), advice=True)
def batches_made_before_of_which_the_first_is_used():
    """Rows are put together to batches once; a loader gives the validation."""
    rows, target = diabetes()
    batches, wanted = rows[:400].reshape(25, 16, 10).clone(), target[:400].reshape(25, 16, 1).clone()
    valid = DataLoader(TensorDataset(rows[400:], target[400:]), batch_size=42)
    model = mlp(10, 32, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    number = 0
    for _ in range(4):
        for _ in range(len(batches)):
            _step(model, optimizer, batches[number], wanted[number], F.mse_loss)
        with torch.no_grad():
            for inputs, truth in valid:
                F.mse_loss(model(inputs), truth).item()


# -- healthy neighbours ---------------------------------------------------------------------------


def all_rows_but_those_held_out():
    rows, target = diabetes()
    model = mlp(10, 32, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for step in range(60):
        _step(model, optimizer, rows[:100], target[:100], F.mse_loss)
        if step % 4 == 3:
            with torch.no_grad():
                F.mse_loss(model(rows[100:]), target[100:]).item()


def most_rows_without_a_validation():
    rows, target = diabetes()
    model = mlp(10, 32, 1)
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1)
    for _ in range(10):

        def closure():
            optimizer.zero_grad()
            loss = F.mse_loss(model(rows[:300]), target[:300])
            loss.backward()
            return loss

        optimizer.step(closure)


def a_batch_cut_once_and_learned_by_heart():
    images, labels = digits()
    few, wanted = images[:32], labels[:32]
    model = flat_net()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(100):
        _step(model, optimizer, few, wanted)


def points_within_and_on_the_border():
    """A solution of u'' = -u, held to fixed points: the first few are its values on the border."""
    points = torch.linspace(0, 3, 101).view(-1, 1)
    model = mlp(1, 16, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(120):
        within = points[1:].clone().requires_grad_()
        value = model(within)
        (slope,) = torch.autograd.grad(value.sum(), within, create_graph=True)
        (bend,) = torch.autograd.grad(slope.sum(), within, create_graph=True)
        optimizer.zero_grad()
        ((bend + value).square().mean() + model(points[:1]).square().mean()).backward()
        optimizer.step()


def few_labels_and_many_rows_without():
    """The labelled rows are few; what the model says of the others is to stay under noise."""
    images, labels = digits()
    model = flat_net()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(60):
        i = torch.randint(40, 1000, (64,))
        optimizer.zero_grad()
        told = F.cross_entropy(model(images[:40]), labels[:40])
        with torch.no_grad():
            before = model(images[i])
        steady = F.mse_loss(model(images[i] + 0.1 * torch.randn_like(images[i])), before)
        (told + steady).backward()
        optimizer.step()


def pictures_of_the_same_noise():
    noise, images = torch.randn(800, 4), digits()[0].flatten(1)
    maker, critic = mlp(4, 32, 64), mlp(64, 32, 1)
    making = torch.optim.Adam(maker.parameters(), lr=1e-3)
    judging = torch.optim.Adam(critic.parameters(), lr=1e-3)
    for _ in range(40):
        real, fake = images[torch.randint(0, 1000, (32,))], maker(torch.randn(32, 4))
        judging.zero_grad()
        (critic(fake.detach()).mean() - critic(real).mean()).backward()
        judging.step()
        making.zero_grad()
        (-critic(fake).mean()).backward()
        making.step()
        with torch.no_grad():
            maker(noise[:8])


def batches_used_for_several_steps():
    images, labels = digits()
    model = flat_net()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for i in range(0, 800, 100):
        for _ in range(20):
            _step(model, optimizer, images[i : i + 100], labels[i : i + 100])


UNTOLD = [
    all_rows_but_those_held_out,
    most_rows_without_a_validation,
    a_batch_cut_once_and_learned_by_heart,
    points_within_and_on_the_border,
    few_labels_and_many_rows_without,
    pictures_of_the_same_noise,
    batches_used_for_several_steps,
]
"""They are not told that a batch is one for ever."""


def a_batch_cut_anew_and_learned_by_heart():
    """Looked at on the way, on itself."""
    images, labels = digits()
    model = flat_net()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for step in range(100):
        _step(model, optimizer, images[:32], labels[:32])
        if step % 10 == 9:
            with torch.no_grad():
                (model(images[:32]).argmax(1) == labels[:32]).float().mean().item()


# -- one batch, drawn before the loop ---------------------------------------------------------------


def _drawn(part, count=32):
    images, labels = digits()
    chosen = torch.randint(*part, (count,))
    return images[chosen], labels[chosen]


def _steps_on_drawn(*, again, asked):
    model = flat_net()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    batch = _drawn((0, 1000))
    for step in range(60):
        if step % 15 == 0:
            model.eval()
            with torch.no_grad():
                for count in asked:
                    model(_drawn((1000, 1700), count)[0])
            model.train()
        _step(model, optimizer, *batch)
        batch = _drawn((0, 1000)) if again else batch


def batches_drawn_anew():
    _steps_on_drawn(again=True, asked=[32] * 4)


@fault(batches_drawn_anew, "batches_are_fresh", words=("others of its size",), advice=True)
def batch_drawn_before_the_loop():
    _steps_on_drawn(again=False, asked=[32] * 4)


def all_there_is_beside_a_test_set():
    """Full-batch training on few samples; scored on many at once."""
    _steps_on_drawn(again=False, asked=[700])


WHOLE = [batches_drawn_anew, all_there_is_beside_a_test_set]
"""None of them may be advised to draw another batch in each step."""
QUIET = [*UNTOLD, *WHOLE, a_batch_cut_anew_and_learned_by_heart]
"""None of them may raise an alarm."""
