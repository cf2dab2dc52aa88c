"""Averages that are updated at every step from what does not train, beside the trained model."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from .data import diabetes, tumours
from .faults import fault
from .healthy import mlp


def _tumours(follows, *, model=None, steps=140):
    """Noisy rows are cleaned; the other that ``follows`` gives is scored on other noise each time."""
    rows = tumours()[0]
    model = model or mlp(30, 48, 30)
    other, update = follows(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for step in range(steps):
        i = torch.randint(400, (32,))
        optimizer.zero_grad()
        F.mse_loss(model(rows[i] + torch.randn(32, 30)), rows[i]).backward()
        optimizer.step()
        with torch.no_grad():
            update(step)
            if step % 20 == 19:
                F.mse_loss(other(rows[400:] + torch.randn(169, 30)), rows[400:]).item()


def _lerp(average, source, weight=0.05):
    def update(_):
        for mine, its in zip(average.parameters(), source.parameters(), strict=True):
            mine.mul_(1 - weight).add_(its, alpha=weight)

    return average, update


def average_of_the_trained():
    _tumours(lambda model: _lerp(copy.deepcopy(model).requires_grad_(False), model))


@fault(average_of_the_trained, "validated_model_is_trained", words=("by rounding alone",))
def average_of_a_model_that_was_drawn_before():
    def follows(_):
        source = mlp(30, 48, 30)
        return _lerp(copy.deepcopy(source).requires_grad_(False), source)

    _tumours(follows)


def _regression(averages):
    rows, target = diabetes()
    model = nn.Sequential(nn.Linear(10, 64), nn.Tanh(), nn.Linear(64, 1))
    average, update = averages(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(8):
        for i in torch.randperm(400).split(40):
            optimizer.zero_grad()
            F.mse_loss(model(rows[i]), target[i]).backward()
            optimizer.step()
            update()
        for each in (model, average):
            each.eval()
            with torch.no_grad():
                F.mse_loss(each(rows[400:]), target[400:]).item()
            each.train()


def _shadow(model, source):
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    return average, lambda: average.update_parameters(source)


def averaged_model():
    _regression(lambda model: _shadow(model, model))


@fault(averaged_model, "validated_model_is_trained", words=("by rounding alone",))
def averaged_model_of_a_deepcopy():
    def averages(model):
        average, source = copy.deepcopy(model).requires_grad_(False), copy.deepcopy(model)

        def update():
            with torch.no_grad():
                for mine, its in zip(average.parameters(), source.parameters(), strict=True):
                    mine.copy_(0.9 * mine + 0.1 * its)

        return average, update

    _regression(averages)


class _Shadow:
    """Moving averages of a model's parameters, put into another one when they are asked for."""

    def __init__(self, source, weight=0.05):
        self.source, self.weight = source, weight
        self.kept = {name: p.detach().clone() for name, p in source.named_parameters()}

    def update(self):
        for name, p in self.source.named_parameters():
            self.kept[name].mul_(1 - self.weight).add_(p.detach(), alpha=self.weight)

    def fill(self, model):
        return model.load_state_dict(self.kept, strict=False) and model


def _shadowed(source_of=lambda model: model, *, every=4):
    rows, target = diabetes()
    model = nn.Sequential(nn.Linear(10, 64), nn.Tanh(), nn.Linear(64, 1))
    shadow = _Shadow(source_of(model))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(8):
        for i in torch.randperm(400).split(40):
            optimizer.zero_grad()
            F.mse_loss(model(rows[i]), target[i]).backward()
            optimizer.step()
            shadow.update()
        if epoch % every == every - 1:
            smoothed_model = shadow.fill(copy.deepcopy(model)).eval()
            with torch.no_grad():
                F.mse_loss(model(rows[400:]), target[400:]).item()
                F.mse_loss(smoothed_model(rows[400:]), target[400:]).item()


def shadow_of_the_trained():
    _shadowed()


@fault(shadow_of_the_trained, "validated_model_is_trained", words=("the loop calls averages",))
def shadow_of_a_copy():
    _shadowed(copy.deepcopy)


@fault(shadow_of_the_trained, "validated_model_is_trained", words=("the loop calls averages",))
def shadow_of_a_copy_that_is_asked_once():
    _shadowed(copy.deepcopy, every=8)


# -- healthy neighbours ---------------------------------------------------------------------------


def slow_average():
    _tumours(lambda model: _lerp(copy.deepcopy(model).requires_grad_(False), model, 1e-4))


def reference_that_is_loaded_again_and_again():
    """The same weights each time, as of an opponent that is drawn from a pool of one."""

    def follows(model):
        fixed = copy.deepcopy(model).requires_grad_(False)
        state = copy.deepcopy(model.state_dict())
        return fixed, lambda _: fixed.load_state_dict(state)

    _tumours(follows)


def reference_that_is_loaded_in_half_precision():
    def follows(model):
        fixed = copy.deepcopy(model).requires_grad_(False)
        state = {name: value.half() for name, value in model.state_dict().items()}
        return fixed, lambda _: fixed.load_state_dict(state)

    _tumours(follows)


def average_that_begins_after_a_while():
    def follows(model):
        average = copy.deepcopy(model).requires_grad_(False)
        _, update = _lerp(average, model)
        return average, lambda step: update(step) if step > 100 else None

    _tumours(follows)


def beginning_beside_the_end():
    """Made anew for each comparison, as of a baseline that is kept by its weights alone."""
    rows, target = diabetes()
    model = nn.Sequential(nn.Linear(10, 64), nn.Tanh(), nn.Linear(64, 1))
    kept = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(8):
        for i in torch.randperm(400).split(40):
            optimizer.zero_grad()
            F.mse_loss(model(rows[i]), target[i]).backward()
            optimizer.step()
        if epoch % 4 == 3:
            baseline = copy.deepcopy(model)
            baseline.load_state_dict(kept)
            for each in (model, baseline.eval()):
                with torch.no_grad():
                    F.mse_loss(each(rows[400:]), target[400:]).item()


def _beside(average_of):
    """What is called an average is scored beside the trained model, and is not updated before."""
    rows, target = diabetes()
    model = nn.Sequential(nn.Linear(10, 64), nn.Tanh(), nn.Linear(64, 1))
    ema_model = average_of(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(8):
        for i in torch.randperm(400).split(40):
            optimizer.zero_grad()
            F.mse_loss(model(rows[i]), target[i]).backward()
            optimizer.step()
        for each in (model, ema_model.eval()):
            with torch.no_grad():
                F.mse_loss(each(rows[400:]), target[400:]).item()


def average_that_others_have_made():
    """The tuning begins at an average that is kept for comparison."""
    _beside(lambda model: copy.deepcopy(model).requires_grad_(False))


def average_that_would_begin_later():
    """A short run of what averages from the thousandth step on."""

    def average_of(model):
        other = nn.Sequential(nn.Linear(10, 64), nn.Tanh(), nn.Linear(64, 1))
        other.load_state_dict(model.state_dict())
        return other

    _beside(average_of)


def shadow_that_is_a_mean_of_few():
    """An average that is made anew, and has begun; the first is asked for before that."""
    _shadowed(every=1)


QUIET = [
    beginning_beside_the_end,
    shadow_that_is_a_mean_of_few,
    average_that_others_have_made,
    average_that_would_begin_later,
    slow_average,
    reference_that_is_loaded_again_and_again,
    reference_that_is_loaded_in_half_precision,
    average_that_begins_after_a_while,
]
"""Loops that are meant so."""
