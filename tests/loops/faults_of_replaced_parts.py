"""Parts and models that are put in anew while a loop trains, beside those that are meant so."""

from __future__ import annotations

import copy
import warnings

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, prune
from torch.utils.data import DataLoader, TensorDataset

from .data import diabetes, digits
from .faults import fault, train_classifier
from .healthy import evaluate, mlp


class TwoTasks(nn.Module):
    """Reads digits; the head is that of the task at hand."""

    def __init__(self, classes=5):
        super().__init__()
        self.body = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 32), nn.ReLU()
        )
        self.head = nn.Linear(32, classes)

    def forward(self, x):
        return self.head(self.body(x))


def _half(upper, *, held=False):
    images, labels = digits()
    chosen, part = (labels >= 5) == upper, slice(700, None) if held else slice(700)
    return TensorDataset(images[chosen][part], labels[chosen][part] - 5 * upper)


def _fit(model, optimizer, *, upper=False, epochs=2, step=None):
    for _ in range(epochs):
        for x, y in DataLoader(_half(upper), 25, shuffle=True):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            if step is not None:
                step()


def _adam(parameters):
    return torch.optim.Adam(parameters, lr=2e-3)


def _two_tasks(between, *, model=None, upper=True):
    """Trains on one half of the digits, does something in between, and goes on with the other half."""
    model = model or TwoTasks()
    optimizer = _adam(model.parameters())
    _fit(model, optimizer)
    optimizer = between(model, optimizer) or optimizer
    _fit(model, optimizer, upper=upper, epochs=3)
    model.eval()
    with torch.no_grad():
        model(_half(upper, held=True).tensors[0])


# -- a part that nothing steps --------------------------------------------------------------------


@fault(train_classifier, "optimizer_covers_model", words=("optimizer holds 2 parameters",))
def head_replaced_between_two_tasks():
    def between(model, _):
        model.head = nn.Linear(32, 5)

    _two_tasks(between)


@fault(train_classifier, "optimizer_covers_model", words=("came into the model",))
def small_head_replaced():
    model = mlp(10, 16, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    loader = DataLoader(TensorDataset(*diabetes()), 26, shuffle=True)
    for epoch in range(8):
        if epoch == 3:
            model[-1] = nn.Linear(16, 1)
        for x, y in loader:
            model.zero_grad()
            F.mse_loss(model(x), y).backward()
            optimizer.step()


@fault(train_classifier, "optimizer_covers_model", words=("in no optimizer",))
def layer_added_as_the_model_grows():
    def between(model, _):
        model.body.append(nn.Linear(32, 32))
        model.body.append(nn.ReLU())

    _two_tasks(between, upper=False)


# -- a model in every epoch -----------------------------------------------------------------------


def _regression(epochs, build, *, loader=None):
    rows, target = diabetes()
    loader = loader or DataLoader(TensorDataset(rows[:320], target[:320]), 40, shuffle=True)
    model, optimizer = build()
    for _ in range(epochs):
        model, optimizer = build(model, optimizer)
        for x, y in loader:
            optimizer.zero_grad()
            F.mse_loss(model(x), y).backward()
            optimizer.step()
    return model


def _drawn():
    model = nn.Sequential(nn.Linear(10, 48), nn.Tanh(), nn.Linear(48, 1))
    return model, torch.optim.Adam(model.parameters(), lr=5e-3)


def _kept(*known):
    return known or _drawn()


def _anew(*_):
    return _drawn()


def _score(model):
    rows, target = diabetes()
    model.eval()
    with torch.no_grad():
        return F.mse_loss(model(rows[320:]), target[320:]).item()


def one_model_in_all_epochs():
    _score(_regression(7, _kept))


@fault(one_model_in_all_epochs, "optimizer_persists", words=("built in every epoch",))
def model_built_in_every_epoch():
    _score(_regression(7, _anew))


@fault(one_model_in_all_epochs, "optimizer_persists", words=("built in every epoch",))
def model_of_images_built_in_every_epoch():
    for _ in range(6):
        model = TwoTasks()
        _fit(model, _adam(model.parameters()), epochs=1)
    evaluate(model, DataLoader(_half(False, held=True), 50))


# -- healthy neighbours of the parts --------------------------------------------------------------


def head_replaced_with_a_new_optimizer():
    def between(model, _):
        model.head = nn.Linear(32, 5)
        return _adam(model.parameters())

    _two_tasks(between)


def head_replaced_and_added_to_the_optimizer():
    def between(model, optimizer):
        model.head = nn.Linear(32, 5)
        optimizer.add_param_group({"params": model.head.parameters()})

    _two_tasks(between)


def head_replaced_in_the_optimizers_own_group():
    def between(model, optimizer):
        model.head = nn.Linear(32, 5)
        optimizer.param_groups[0]["params"] = list(model.parameters())

    _two_tasks(between)


def head_with_an_optimizer_of_its_own():
    model = TwoTasks()
    optimizer = _adam(model.parameters())
    _fit(model, optimizer)
    model.head = nn.Linear(32, 5)
    second = _adam(model.head.parameters())

    def step():
        second.step()
        second.zero_grad()

    _fit(model, optimizer, upper=True, step=step)


def head_replaced_after_the_training():
    model = TwoTasks()
    _fit(model, _adam(model.parameters()), epochs=3)
    model.head = nn.Linear(32, 5)
    evaluate(model, DataLoader(_half(True, held=True), 50))


def head_taken_out_for_features_and_put_back():
    model = TwoTasks()
    optimizer = _adam(model.parameters())
    for _ in range(3):
        _fit(model, optimizer, epochs=1)
        head, model.head = model.head, nn.Identity()
        evaluate_features(model)
        model.head = head


def evaluate_features(model):
    model.eval()
    with torch.no_grad():
        model(_half(False, held=True).tensors[0])
    model.train()


def heads_in_turn_of_one_optimizer():
    model, heads = TwoTasks(), [nn.Linear(32, 5), nn.Linear(32, 5)]
    optimizer = _adam([*model.body.parameters(), *(p for head in heads for p in head.parameters())])
    for epoch in range(6):
        model.head = heads[epoch % 2]
        _fit(model, optimizer, upper=bool(epoch % 2), epochs=1)


def frozen_part_put_in():
    def between(model, _):
        model.body.append(nn.Linear(32, 32).requires_grad_(False))

    _two_tasks(between, upper=False)


def trained_head_of_another_model_put_in():
    other = TwoTasks()
    _fit(other, _adam(other.parameters()), epochs=4, upper=True)

    def between(model, _):
        model.head = other.head.requires_grad_(False)

    _two_tasks(between)


def part_left_out_from_then_on():
    def between(model, _):
        model.body = nn.Sequential(*list(model.body)[:3], nn.Linear(48, 32).requires_grad_(False))

    _two_tasks(between, upper=False)


def weights_tied_in_the_middle():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.into, self.out = nn.Linear(64, 64), nn.Linear(64, 64)
            self.head = nn.Linear(64, 5)

        def forward(self, x):
            return self.head(self.out(self.into(x.flatten(1)).relu()).relu())

    def between(model, _):
        model.out.weight = model.into.weight

    _two_tasks(between, model=Tied(), upper=False)


def moved_to_another_type_and_back():
    def between(model, _):
        model.half()
        model.float()

    _two_tasks(between, upper=False)


def normalised_and_pruned_in_the_middle():
    def between(model, _):
        parametrizations.spectral_norm(model.body[1])
        prune.l1_unstructured(model.body[3], "weight", amount=0.3)

    _two_tasks(between, upper=False)


def weight_norm_with_a_new_optimizer():
    def between(model, _):
        parametrizations.weight_norm(model.body[1])
        return _adam(model.parameters())

    _two_tasks(between, upper=False)


class LowRank(nn.Module):
    """A frozen layer beside which a small one learns."""

    def __init__(self, layer, rank=4):
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.down = nn.Linear(layer.in_features, rank, bias=False)
        self.up = nn.Linear(rank, layer.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x):
        return self.layer(x) + self.up(self.down(x))


def low_rank_parts_with_their_own_optimizer():
    def between(model, _):
        model.requires_grad_(False)
        model.body[1], model.body[3] = LowRank(model.body[1]), LowRank(model.body[3])
        return _adam([p for p in model.parameters() if p.requires_grad])

    _two_tasks(between, upper=False)


def prepared_for_quantisation():
    from torch.ao.quantization import get_default_qat_qconfig, prepare_qat

    def between(model, _):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.ao.quantization is to move to torchao
            model.qconfig = get_default_qat_qconfig("fbgemm")
            prepare_qat(model.train(), inplace=True)

    _two_tasks(between, upper=False)


def parameter_set_anew_at_every_step():
    """A scale that the loop computes, and puts in as a parameter."""
    model = TwoTasks()
    model.scale = nn.Parameter(torch.ones(()), requires_grad=False)
    optimizer = _adam([p for name, p in model.named_parameters() if name != "scale"])

    def step():
        model.scale = nn.Parameter(torch.rand(()))

    _fit(model, optimizer, epochs=3, step=step)


# -- and of the models ----------------------------------------------------------------------------


def seeds_that_are_scored():
    for seed in range(6):
        torch.manual_seed(seed)
        _score(_regression(1, _anew))


def seeds_of_which_only_the_curves_are_kept():
    for _ in range(6):
        _regression(1, _anew)


def ensemble_that_votes():
    members = [_regression(1, _anew) for _ in range(6)]
    rows, _target = diabetes()
    with torch.no_grad():
        torch.stack([member(rows) for member in members]).mean(0)


def seeds_that_are_scored_with_gradients_on():
    rows, target = diabetes()
    scores = []
    for _ in range(6):
        model = _regression(1, _anew)
        scores.append(F.mse_loss(model(rows[320:]), target[320:]).item())


def states_of_all_seeds_are_kept():
    states = []
    for _ in range(6):
        model = _regression(1, _anew)
        states.append(copy.deepcopy(model.state_dict()))
    _score(model)


def rates_are_tried_and_the_best_is_used():
    for rate in (0.1, 0.03, 0.01, 0.003, 0.001, 0.003):

        def build(*_, rate=rate):
            model = mlp(10, 48, 1)
            return model, torch.optim.Adam(model.parameters(), lr=rate)

        model = _regression(1, build)
    _score(model)


def widths_are_tried():
    for width in (8, 16, 32, 64, 96, 48):

        def build(*_, width=width):
            model = mlp(10, width, 1)
            return model, torch.optim.Adam(model.parameters(), lr=5e-3)

        model = _regression(1, build)
    _score(model)


def tasks_of_reptile():
    slow, _ = _drawn()
    rows, target = diabetes()
    for task in range(7):
        fast = copy.deepcopy(slow)
        optimizer = torch.optim.Adam(fast.parameters(), lr=5e-3)
        part = TensorDataset(rows[task::7], target[task::7])
        for x, y in DataLoader(part, 16, shuffle=True):
            optimizer.zero_grad()
            F.mse_loss(fast(x), y).backward()
            optimizer.step()
        with torch.no_grad():
            for p, q in zip(slow.parameters(), fast.parameters(), strict=True):
                p.lerp_(q, 0.3)
    _score(slow)


def stages_of_boosting():
    rows, target = diabetes()
    stages, left = [], target
    for _ in range(6):
        stage, optimizer = _drawn()
        for x, y in DataLoader(TensorDataset(rows, left), 40, shuffle=True):
            optimizer.zero_grad()
            F.mse_loss(stage(x), y).backward()
            optimizer.step()
        with torch.no_grad():
            left = left - 0.3 * stage(rows)
        stages.append(stage)


QUIET = [
    head_replaced_with_a_new_optimizer,
    head_replaced_and_added_to_the_optimizer,
    head_replaced_in_the_optimizers_own_group,
    head_with_an_optimizer_of_its_own,
    head_replaced_after_the_training,
    head_taken_out_for_features_and_put_back,
    heads_in_turn_of_one_optimizer,
    frozen_part_put_in,
    trained_head_of_another_model_put_in,
    part_left_out_from_then_on,
    weights_tied_in_the_middle,
    moved_to_another_type_and_back,
    normalised_and_pruned_in_the_middle,
    weight_norm_with_a_new_optimizer,
    low_rank_parts_with_their_own_optimizer,
    prepared_for_quantisation,
    parameter_set_anew_at_every_step,
    seeds_that_are_scored,
    seeds_of_which_only_the_curves_are_kept,
    ensemble_that_votes,
    seeds_that_are_scored_with_gradients_on,
    states_of_all_seeds_are_kept,
    rates_are_tried_and_the_best_is_used,
    widths_are_tried,
    tasks_of_reptile,
    stages_of_boosting,
]
"""Loops that are meant so."""
