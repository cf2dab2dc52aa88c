"""Loops with a second model that gives targets, and is not what it should be, beside healthy ones."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import nn

from .data import diabetes, loaders
from .faults import fault
from .healthy import Net, evaluate, mlp


def _pretrained():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 10)
    )


def _distil(teacher, student, *, follow=None, make=None):
    train, test = loaders()
    make = make or (lambda s, _: torch.optim.Adam(s.parameters(), lr=3e-3))
    optimizer = make(student, teacher)
    for _ in range(3):
        student.train()
        for x, y in train:
            with torch.no_grad():
                soft = teacher(x).softmax(1)
            out = student(x)
            loss = F.cross_entropy(out, y) + F.kl_div(out.log_softmax(1), soft, reduction="batchmean")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if follow:
                with torch.no_grad():
                    follow(teacher, student)
        evaluate(student, test)


def distilled():
    _distil(_pretrained().eval(), nn.Sequential(nn.Flatten(), mlp(64, 16, 10)))


@fault(distilled, "modes_are_right", words=("call eval() on it",), advice=True)
def teacher_in_train_mode():
    _distil(_pretrained(), nn.Sequential(nn.Flatten(), mlp(64, 16, 10)))


@fault(distilled, "modes_are_right", words=("call eval() on it",), advice=True)
def teacher_in_train_mode_of_a_student_with_dropout():
    _distil(_pretrained(), Net())


@fault(distilled, "modes_are_right", words=("call eval() on it",), advice=True)
def frozen_features_with_dropout():
    train, _ = loaders()
    features = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.3))
    head = nn.Linear(32, 10)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
    for _ in range(2):
        for x, y in train:
            with torch.no_grad():
                seen = features(x)
            optimizer.zero_grad()
            F.cross_entropy(head(seen), y).backward()
            optimizer.step()


@fault(distilled, "modes_are_right", words=("teacher is in its student's optimizer",))
def teacher_in_the_students_optimizer():
    train, _ = loaders()
    teacher, student = _pretrained(), nn.Sequential(nn.Flatten(), mlp(64, 16, 10))
    first = torch.optim.Adam(teacher.parameters(), lr=3e-3)
    for x, y in train:
        first.zero_grad()
        F.cross_entropy(teacher(x), y).backward()
        first.step()
    teacher.eval()
    optimizer = torch.optim.Adam([*student.parameters(), *teacher.parameters()], lr=3e-3)
    for _ in range(2):
        for x, y in train:
            soft, out = teacher(x).softmax(1), student(x)
            loss = F.cross_entropy(out, y) + F.kl_div(out.log_softmax(1), soft, reduction="batchmean")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


# -- target networks ------------------------------------------------------------------------------


def _bootstrap(sync, *, reference=copy.deepcopy, steps=600, size=16):
    """Values that are learned from their own, of a copy, one step on."""
    rows, reward = diabetes()
    value = mlp(10, size, 1)
    target = reference(value)
    optimizer = torch.optim.Adam(value.parameters(), lr=1e-3)
    for step in range(steps):
        i = torch.randint(0, 400, (16,))
        with torch.no_grad():
            goal = reward[i] + 0.9 * target(rows[i + 1])
        optimizer.zero_grad()
        F.smooth_l1_loss(value(rows[i]), goal).backward()
        optimizer.step()
        sync(step, target, value)


def target_synchronised():
    def sync(step, target, value):
        if step % 100 == 99:
            target.load_state_dict(value.state_dict())

    _bootstrap(sync)


@fault(target_synchronised, "targets_are_aligned", words=("to be synchronised",), advice=True)
def target_never_synchronised():
    _bootstrap(lambda *_: None)


@fault(target_synchronised, "targets_are_aligned", words=("to be synchronised",), advice=True)
def target_synchronised_with_itself():
    def sync(step, target, _):
        if step % 50 == 0:
            target.load_state_dict(copy.deepcopy(target).state_dict())

    _bootstrap(sync, size=32)


# -- healthy neighbours ---------------------------------------------------------------------------


def target_that_follows_slowly():
    def sync(_, target, value):
        with torch.no_grad():
            for a, b in zip(target.parameters(), value.parameters(), strict=True):
                a.lerp_(b, 0.005)

    _bootstrap(sync)


def random_target_of_its_own():
    _bootstrap(lambda *_: None, reference=lambda _: mlp(10, 16, 1))


def mean_teacher_in_train_mode():
    def follow(teacher, student):
        for a, b in zip(teacher.parameters(), student.parameters(), strict=True):
            a.lerp_(b, 0.05)

    student = _pretrained()
    _distil(copy.deepcopy(student), student, follow=follow)


def noise_without_parameters():
    """Dropout as an augmentation, by itself and without gradients."""
    train, test = loaders()
    model, noise = Net(), nn.Dropout(0.1)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for x, y in train:
        with torch.no_grad():
            x = noise(x)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    evaluate(model, test)


SILENT = [
    distilled,
    target_synchronised,
    target_that_follows_slowly,
    random_target_of_its_own,
    mean_teacher_in_train_mode,
    noise_without_parameters,
]
"""None of them may raise an alarm, nor be given this advice."""
QUIET = SILENT
