"""Old readouts on a frozen body that a second training takes over in train mode, beside healthy ones."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from .data import tumours
from .faults import fault


class Screening(nn.Module):
    """Two hidden layers with normalisation, and a readout."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Linear(30, 24), nn.BatchNorm1d(24), nn.Tanh()),
            *(nn.Linear(24, 16), nn.BatchNorm1d(16), nn.Tanh()),
        )
        self.readout = nn.Linear(16, 1)

    def forward(self, rows):
        return self.readout(self.body(rows)).squeeze(1)


class Second(nn.Module):
    """A readout of its own on another model's body."""

    def __init__(self, body):
        super().__init__()
        self.body, self.own = body, nn.Sequential(nn.Dropout(0.1), nn.Linear(16, 1))

    def forward(self, rows):
        return self.own(self.body(rows)).squeeze(1)


def other_laboratory(rows):
    """The same measurements in other units."""
    return 0.4 * rows + 1.5


def train(model, rows, target, *, epochs=6, batch=20, arrange=lambda model: None, after=None):
    held = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(held, lr=4e-3)
    for _ in range(epochs):
        model.train()
        arrange(model)
        for x, y in DataLoader(TensorDataset(rows[:400], target[:400]), batch, shuffle=True):
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(model(x), y).backward()
            optimizer.step()
        if after is not None:
            after()


@torch.no_grad()
def score(predict, rows, target):
    return ((predict(rows[400:]) > 0) == (target[400:] > 0)).float().mean().item()


def two_laboratories(*, arrange=lambda model: None, asked="model", change=other_laboratory):
    """Trains one model, freezes its body, and trains a second readout on it."""
    rows, target = tumours()
    old = Screening()
    train(old, rows, target)
    old.eval()
    score(old, rows, target)
    old.requires_grad_(requires_grad=False)
    second, readout, theirs = Second(old.body), old.readout, change(rows)
    state = copy.deepcopy(old.state_dict())

    def evaluate():
        second.eval()
        score(second, theirs, 1 - target)
        if asked == "model":
            score(old.eval(), rows, target)
        if asked == "readout":
            score(lambda x: readout(old.body(x)).squeeze(1), rows, target)
        if asked == "readout on theirs":
            score(lambda x: readout(old.body(x)).squeeze(1), theirs, target)
        if asked == "readout on both":
            score(lambda x: readout(old.body(x)).squeeze(1), theirs, target)
            score(lambda x: readout(old.body(x)).squeeze(1), rows, target)
        if asked == "restored":
            old.load_state_dict(state)
            score(old.eval(), rows, target)
        if asked == "copy":
            kept = Screening().eval()
            kept.load_state_dict(state)
            score(kept, rows, target)

    train(second, theirs, 1 - target, arrange=arrange, after=evaluate)
    return old, second


def body_in_eval_mode(model):
    model.body.eval()


def both_are_asked_of_a_body_in_eval_mode():
    two_laboratories(arrange=body_in_eval_mode)


def readout_is_asked_of_a_body_in_eval_mode():
    two_laboratories(arrange=body_in_eval_mode, asked="readout")


MOVED = ("trained before, is evaluated behind the frozen",)


@fault(both_are_asked_of_a_body_in_eval_mode, "frozen_stay_frozen", words=MOVED)
def old_model_is_asked_after_its_body_took_over_other_units():
    two_laboratories()


@fault(readout_is_asked_of_a_body_in_eval_mode, "frozen_stay_frozen", words=MOVED)
def old_readout_is_asked_after_the_body_took_over_other_units():
    two_laboratories(asked="readout")


# -- healthy neighbours ---------------------------------------------------------------------------


ADVISED = ("change their running statistics",)


@fault(both_are_asked_of_a_body_in_eval_mode, "frozen_stay_frozen", words=ADVISED, advice=True)
def only_the_new_readout_is_asked():
    two_laboratories(asked="nobody else")


@fault(both_are_asked_of_a_body_in_eval_mode, "frozen_stay_frozen", words=ADVISED, advice=True)
def statistics_are_adapted_to_what_the_old_readout_is_asked():
    two_laboratories(asked="readout on theirs")


@fault(both_are_asked_of_a_body_in_eval_mode, "frozen_stay_frozen", words=ADVISED, advice=True)
def statistics_are_adapted_and_what_is_forgotten_is_measured_too():
    two_laboratories(asked="readout on both")


@fault(both_are_asked_of_a_body_in_eval_mode, "frozen_stay_frozen", words=ADVISED, advice=True)
def second_readout_on_the_same_rows():
    two_laboratories(change=lambda rows: rows)


def statistics_are_put_back_for_the_old_model():
    two_laboratories(asked="restored")


def copy_is_asked_that_was_taken_before():
    two_laboratories(asked="copy")


def body_is_thawed_and_trained_in_the_end():
    old, second = two_laboratories()
    rows, target = tumours()
    old.body.requires_grad_()
    train(second, other_laboratory(rows), 1 - target, epochs=2)


def readouts_take_turns_on_a_body_that_both_train(*, freeze=False):
    rows, target = tumours()
    old = Screening()
    train(old, rows, target)
    body = old.body.requires_grad_(requires_grad=not freeze)
    each = Second(body), Second(body)
    optimizers = [torch.optim.AdamW(model.parameters(), lr=4e-3) for model in each]
    for _ in range(4):
        for model, optimizer, change in zip(
            each, optimizers, (torch.clone, other_laboratory), strict=True
        ):
            model.train()
            for x, y in DataLoader(TensorDataset(change(rows[:400]), target[:400]), 20, shuffle=True):
                optimizer.zero_grad()
                F.binary_cross_entropy_with_logits(model(x), y).backward()
                optimizer.step()
        for model in each:
            score(model.eval(), rows, target)


def readouts_take_turns_on_a_frozen_body():
    readouts_take_turns_on_a_body_that_both_train(freeze=True)


def teacher_is_an_old_model_of_its_own():
    rows, target = tumours()
    teacher, student = Screening(), Screening()
    train(teacher, rows, target)
    teacher.requires_grad_(requires_grad=False).eval()
    optimizer = torch.optim.AdamW(student.parameters(), lr=4e-3)
    for _ in range(3):
        student.train()
        for (x,) in DataLoader(TensorDataset(rows[:400]), 20, shuffle=True):
            with torch.no_grad():
                wanted = teacher(x).sigmoid()
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(student(other_laboratory(x)), wanted).backward()
            optimizer.step()
        score(student.eval(), other_laboratory(rows), target)
        score(teacher, rows, target)


QUIET = [
    both_are_asked_of_a_body_in_eval_mode,
    readout_is_asked_of_a_body_in_eval_mode,
    only_the_new_readout_is_asked,
    statistics_are_adapted_to_what_the_old_readout_is_asked,
    statistics_are_adapted_and_what_is_forgotten_is_measured_too,
    second_readout_on_the_same_rows,
    statistics_are_put_back_for_the_old_model,
    copy_is_asked_that_was_taken_before,
    body_is_thawed_and_trained_in_the_end,
    readouts_take_turns_on_a_body_that_both_train,
    readouts_take_turns_on_a_frozen_body,
    teacher_is_an_old_model_of_its_own,
]
"""None of them may raise an alarm."""
