"""Loops that evaluate a copy once, after the training, which stands still or does not."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from .data import diabetes, digits
from .faults import fault
from .healthy import Net, mlp


def flat_net():
    return nn.Sequential(nn.Flatten(), mlp(64, 48, 10))


def _trained(model, follow=lambda step: None, *, epochs=8, optimizer=None):
    """Train on slices of digits; ``follow`` runs after every step."""
    images, labels = digits()
    optimizer = optimizer or torch.optim.Adam(model.parameters(), lr=2e-3)
    step = 0
    for _ in range(epochs):
        model.train()
        for i in torch.randperm(800).split(64):
            optimizer.zero_grad()
            F.cross_entropy(model(images[i]), labels[i]).backward()
            optimizer.step()
            with torch.no_grad():
                follow(step)
            step += 1


def _score(*models):
    images, labels = digits()
    with torch.no_grad():
        scores = [model.eval()(images[1000:1400]) for model in models]
    return F.cross_entropy(sum(scores), labels[1000:1400]).item()


class Average:
    """An exponential average, as people write it."""

    def __init__(self, model, decay=0.95):
        self.module, self.decay = copy.deepcopy(model), decay
        for parameter in self.module.parameters():
            parameter.requires_grad_(False)

    @torch.no_grad()
    def update(self, model):
        for mine, its in zip(
            self.module.state_dict().values(), model.state_dict().values(), strict=True
        ):
            mine.copy_(self.decay * mine + (1 - self.decay) * its)


def average_scored_at_the_end():
    model = flat_net()
    average = Average(model)
    _trained(model, lambda _: average.update(model))
    _score(average.module)


@fault(average_scored_at_the_end, "validated_model_is_trained", words=("never updated",))
def average_of_itself_scored_at_the_end():
    model = flat_net()
    average = Average(model)
    _trained(model, lambda _: average.update(average.module))
    _score(average.module)


@fault(average_scored_at_the_end, "validated_model_is_trained", words=("never updated",))
def average_of_what_was_wrapped_first():
    """The model is copied for the training, and the average follows what it was copied from."""
    base = Net()
    model = copy.deepcopy(base)
    average = copy.deepcopy(base).eval()

    def follow(_):
        for mine, its in zip(average.parameters(), base.parameters(), strict=True):
            mine.lerp_(its, 0.1)

    _trained(model, follow)
    _score(average)


@fault(average_scored_at_the_end, "validated_model_is_trained", words=("never updated",))
def averaged_model_never_updated():
    rows, target = diabetes()
    model = mlp(10, 64, 1)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(25):
        for i in torch.randperm(400).split(100):
            optimizer.zero_grad()
            F.mse_loss(model(rows[i]), target[i]).backward()
            optimizer.step()
    average.eval()
    with torch.inference_mode():
        (average(rows[400:]) - target[400:]).abs().mean().item()


@fault(
    average_scored_at_the_end,
    "validated_model_is_trained",
    words=("weights that the training began with",),
    advice=True,
)
def average_never_updated_of_a_model_that_is_kept():
    model = flat_net()
    average = Average(model)
    _trained(model)
    kept = copy.deepcopy(model.state_dict())
    _score(average.module)
    assert kept


@fault(
    average_scored_at_the_end,
    "validated_model_is_trained",
    words=("weights that the training began with",),
    advice=True,
)
def average_forgotten():
    """Nobody can tell it from a reference, whose score the training was to beat."""
    model = flat_net()
    average = Average(model)
    _trained(model)
    _score(average.module)


# -- healthy neighbours ---------------------------------------------------------------------------


def slow_average_scored_at_the_end():
    model = flat_net()
    average = Average(model, 0.9999)
    _trained(model, lambda _: average.update(model))
    _score(average.module)


def averaged_from_the_middle_on():
    model = flat_net()
    average = AveragedModel(model)
    _trained(model, lambda step: average.update_parameters(model) if step >= 70 else None)
    _score(average)


def copied_at_the_end():
    model, scored = flat_net(), flat_net().eval()
    _trained(model)
    scored.load_state_dict(model.state_dict())
    _score(scored)


def snapshots_scored_together():
    """The weights of each cycle, and those of the beginning, are one ensemble."""
    model = flat_net()
    snapshots = [copy.deepcopy(model).eval()]

    def keep(step):
        if step % 26 == 25:
            snapshots.append(copy.deepcopy(model).eval())

    _trained(model, keep)
    _score(*snapshots)


def before_and_after():
    model = flat_net()
    before = copy.deepcopy(model)
    _trained(model)
    _score(before)
    _score(model)


def before_and_after_with_gradients():
    images, labels = digits()
    model = flat_net()
    before = copy.deepcopy(model).eval()
    _trained(model)
    model.eval()
    loss = F.cross_entropy(model(images[1000:]), labels[1000:])
    assert loss.item() < _score(before)


def reference_of_a_short_training():
    model = flat_net()
    before = copy.deepcopy(model).eval()
    _trained(model, epochs=2)
    _score(before)


def tuned_further_from_the_best():
    """The second training begins with a copy of what the first has ended with."""
    first = flat_net()
    _trained(first, epochs=6)
    old = copy.deepcopy(first).eval()
    second = copy.deepcopy(first)
    _trained(second, epochs=6)
    _score(old)
    _score(second)


def twins_one_of_which_is_scored():
    """Two models of one shape learn side by side; the better one answers, beside the common start."""
    start = flat_net()
    one, other = copy.deepcopy(start), copy.deepcopy(start)
    _trained(one)
    _trained(other)
    _score(other, start)


QUIET = [
    slow_average_scored_at_the_end,
    averaged_from_the_middle_on,
    copied_at_the_end,
    snapshots_scored_together,
    before_and_after,
    before_and_after_with_gradients,
    reference_of_a_short_training,
    tuned_further_from_the_best,
    twins_one_of_which_is_scored,
]
"""None of them may raise an alarm, nor be told that a copy has the weights of the beginning."""
