"""A model built anew in every epoch and scored each time, beside models that are meant to be new."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from sklearn.model_selection import KFold
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from .data import diabetes, digits
from .faults import fault


class Scanner(nn.Module):
    """Reads an image column by column."""

    def __init__(self):
        super().__init__()
        self.scan, self.tell = nn.GRU(8, 24, batch_first=True), nn.Linear(24, 10)

    def forward(self, images):
        return self.tell(self.scan(images.squeeze(1))[1][0])


def _begun():
    model = Scanner()
    return model, torch.optim.RMSprop(model.parameters(), lr=2e-3)


def _parts():
    images, labels = digits()
    return DataLoader(TensorDataset(images[:600], labels[:600]), 40, shuffle=True)


def _one_pass(model, optimizer, parts, teacher=None):
    model.train()
    for images, labels in parts:
        loss = F.cross_entropy(model(images), labels)
        if teacher is not None:
            with torch.no_grad():
                says = teacher(images).softmax(1)
            loss = loss + F.cross_entropy(model(images), says)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def _right(model):
    images, labels = digits()
    model.eval()
    with torch.no_grad():
        return (model(images[600:900]).argmax(1) == labels[600:900]).float().mean().item()


def begun_once():
    parts, (model, optimizer) = _parts(), _begun()
    for _epoch in range(5):
        _one_pass(model, optimizer, parts)
        _right(model)


WORDS = ("built in every epoch",)


@fault(begun_once, "optimizer_persists", words=WORDS)
def begun_in_every_epoch():
    parts, history = _parts(), []
    for epoch in range(1, 6):
        model, optimizer = _begun()
        _one_pass(model, optimizer, parts)
        history.append((epoch, _right(model)))


@fault(begun_once, "optimizer_persists", words=WORDS)
def begun_by_the_function_that_runs_an_epoch():
    """What it returns is never handed to it, and the rate falls from epoch to epoch."""
    parts = _parts()

    def run(rate):
        model, optimizer = _begun()
        optimizer.param_groups[0]["lr"] = rate
        return _one_pass(model, optimizer, parts), optimizer

    for current_epoch in range(5):
        model, optimizer = run(2e-3 * 0.8**current_epoch)
        assert _right(model) > optimizer.param_groups[0]["lr"]


@fault(begun_once, "optimizer_persists", words=("if these are epochs",), advice=True)
def begun_in_a_loop_of_no_name():
    parts = _parts()
    for _ in range(5):
        _right(_one_pass(*_begun(), parts))


# -- healthy neighbours ---------------------------------------------------------------------------


def seeds_of_one_epoch_each():
    parts = _parts()
    for seed in range(5):
        torch.manual_seed(seed)
        model, optimizer = _begun()
        for _epoch in range(1):
            _one_pass(model, optimizer, parts)
        _right(model)


def seeds_whose_epochs_are_counted_through():
    """One counter for the log of all of them."""
    parts = _parts()
    for epoch, seed in enumerate((3, 1, 4, 15, 9)):
        torch.manual_seed(seed)
        assert _right(_one_pass(*_begun(), parts)) >= 0, epoch


def members_that_are_kept():
    parts, members = _parts(), []
    for _epoch in range(5):
        members.append(_one_pass(*_begun(), parts))
        _right(members[-1])


def each_taught_by_the_one_before():
    parts, teacher = _parts(), None
    for _epoch in range(5):
        model, optimizer = _begun()
        teacher = _one_pass(model, optimizer, parts, teacher)
        _right(teacher)


def one_client_in_every_round():
    """Its copy of the weights begins where the common ones are, which go half of its way."""
    parts, (common, _) = _parts(), _begun()
    for _epoch in range(5):
        local = copy.deepcopy(common)
        _one_pass(local, torch.optim.RMSprop(local.parameters(), lr=2e-3), parts)
        with torch.no_grad():
            for p, q in zip(common.parameters(), local.parameters(), strict=True):
                p.lerp_(q, 0.5)
        _right(common)


def rates_that_are_tried():
    parts = _parts()
    for epoch in range(5):
        model, optimizer = _begun()
        optimizer.param_groups[0]["lr"] = 1e-2 / 3**epoch
        _right(_one_pass(model, optimizer, parts))


def a_fresh_probe_in_every_epoch():
    """What a network knows after each of its epochs, told by a small one on the side."""
    rows, target = diabetes()
    rows, target = rows[:320], target[:320]
    body, head = nn.Linear(10, 16), nn.Linear(16, 1)
    optimizer = torch.optim.Adam([*body.parameters(), *head.parameters()], lr=1e-3)
    for _epoch in range(5):
        for part in torch.randperm(320).split(40):
            optimizer.zero_grad()
            F.mse_loss(head(body(rows[part]).tanh()), target[part]).backward()
            optimizer.step()
        probe = nn.Sequential(nn.Linear(10, 48), nn.ReLU(), nn.Linear(48, 16))
        tuned = torch.optim.Adam(probe.parameters(), lr=3e-3)
        for part in torch.randperm(320).split(40):
            with torch.no_grad():
                wanted = body(rows[part]).tanh()
            tuned.zero_grad()
            F.mse_loss(probe(rows[part]), wanted).backward()
            tuned.step()
        probe.eval()
        with torch.no_grad():
            F.mse_loss(probe(rows), body(rows).tanh()).item()


def stages_that_add_up():
    """Each learns what those before have left, and is kept."""
    rows, target = diabetes()
    stages, left = [], target[:320].clone()
    for _epoch in range(5):
        stage = nn.Sequential(nn.Linear(10, 40), nn.Tanh(), nn.Linear(40, 1))
        optimizer = torch.optim.Adam(stage.parameters(), lr=5e-3)
        for x, y in DataLoader(TensorDataset(rows[:320], left), 40, shuffle=True):
            optimizer.zero_grad()
            F.mse_loss(stage(x), y).backward()
            optimizer.step()
        with torch.no_grad():
            left = left - 0.3 * stage(rows[:320])
        stages.append(stage)


def students_of_answers_that_are_asked_for_once():
    """Nothing is asked of a teacher while its student learns, and it is gone before the next one."""
    images, labels = digits()
    images, says = images[:600], F.one_hot(labels[:600], 10).float()
    for _epoch in range(4):
        student, optimizer = _begun()
        _one_pass(student, optimizer, DataLoader(TensorDataset(images, says), 40, shuffle=True))
        student.eval()
        with torch.no_grad():
            says = 0.5 * says + 0.5 * student(images).softmax(1)
        _right(student)


def labels_that_each_puts_right_for_the_next():
    images, labels = digits()
    images, labels = images[:600], labels[:600].clone()
    labels[::7] = (labels[::7] + 1) % 10
    parts = DataLoader(TensorDataset(images, labels), 40, shuffle=True)
    for _epoch in range(4):
        model, optimizer = _begun()
        _one_pass(model, optimizer, parts)
        with torch.no_grad():
            share, says = model(images).softmax(1).max(1)
        labels[share > 0.6] = says[share > 0.6]
        _right(model)


def stages_of_which_only_the_sum_is_kept():
    rows, target = diabetes()
    total = torch.zeros_like(target)
    for _epoch in range(5):
        stage = nn.Sequential(nn.Linear(10, 40), nn.Tanh(), nn.Linear(40, 1))
        optimizer = torch.optim.Adam(stage.parameters(), lr=5e-3)
        for part in torch.randperm(320).split(40):
            optimizer.zero_grad()
            F.mse_loss(stage(rows[part]), target[part] - total[part]).backward()
            optimizer.step()
        with torch.no_grad():
            total += 0.5 * stage(rows)


def folds_whose_epochs_are_counted_through():
    """A counter for the log goes on from fold to fold, of one epoch each."""
    images, labels = digits()
    epoch, logged = 0, {}
    for train, held_out in KFold(5, shuffle=True, random_state=0).split(images[:900]):
        model, optimizer = _begun()
        for _ in range(1):
            epoch += 1
            _one_pass(model, optimizer, DataLoader(TensorDataset(images[train], labels[train]), 40))
            model.eval()
            with torch.no_grad():
                logged[epoch] = F.cross_entropy(model(images[held_out]), labels[held_out]).item()


class Trial:
    def __init__(self, wide):
        self.wide = wide


def trials_that_are_objects():
    parts = _parts()
    for epoch, trial in enumerate([Trial(0.1), Trial(0.3), Trial(0.5), Trial(0.7)]):
        model, optimizer = _begun()
        nn.init.uniform_(model.tell.weight, -trial.wide, trial.wide)
        assert _right(_one_pass(model, optimizer, parts)) >= 0, epoch


QUIET = (
    students_of_answers_that_are_asked_for_once,
    labels_that_each_puts_right_for_the_next,
    stages_of_which_only_the_sum_is_kept,
    folds_whose_epochs_are_counted_through,
    trials_that_are_objects,
    seeds_of_one_epoch_each,
    seeds_whose_epochs_are_counted_through,
    members_that_are_kept,
    each_taught_by_the_one_before,
    one_client_in_every_round,
    rates_that_are_tried,
    a_fresh_probe_in_every_epoch,
    stages_that_add_up,
)
