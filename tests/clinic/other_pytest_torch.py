"""pytest-torch on a recipe: its inference contract, its output spec and all of its training checks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice
from time import perf_counter
from typing import Any

import pytest_torch as pt
import torch
from torch import nn

from .case import Factory
from .examine import Told
from .others import Sample, batches, parts, sample

STEPS = 50
FALL, FITTED = 0.02, 0.5
"""How far the loss must fall in a run, and the share of it that may be left on one batch: stricter
bounds (its own: 0.1 and 0.05) raise alarms on healthy twins and find no more."""


def told(factory: Factory) -> Told:
    """What it fails on; each assertion has a recipe of its own, so that none spoils the next."""
    began = perf_counter()
    failures = []
    try:
        checks = list(battery(sample(factory)))
    except Exception as error:  # noqa: BLE001  whatever a sick recipe raises is found
        return Told((("raised", repr(error)),), (), perf_counter() - began)
    run.cache_clear()
    for name, check in checks:
        try:
            check(sample(factory), factory)
        except Exception as error:  # noqa: BLE001  the same, and its own assertions
            failures.append((name, str(error).replace("model.", "")))
    return Told(tuple(failures), (), perf_counter() - began)


Assertion = Callable[[Sample, Factory], Any]


def battery(given: Sample) -> Iterator[tuple[str, Assertion]]:
    """The assertions that apply to a recipe."""
    recipe = given.recipe
    for name in ("finite_outputs", "deterministic", "batch_invariance", "no_state_mutation"):
        if name != "batch_invariance" or recipe.batch_dim is not None:
            yield name, contract(name)
    if recipe.shapes is not None and ":" not in recipe.shapes.partition("->")[2]:
        yield "output_spec", output_spec
    yield "layout", lambda s, _: pt.assert_layout_invariant(Called(s).eval(), s.shown)
    if isinstance(given.batch, dict):
        yield "mask", lambda s, _: pt.assert_mask_invariant(Called(s).eval(), s.inputs)
        yield "padding", lambda s, _: pt.assert_padding_invariant(Called(s).eval(), s.inputs)
    yield "gradients_finite", lambda s, _: pt.assert_gradients_finite(*trained(s))
    yield "params_receive_grad", lambda s, _: pt.assert_all_params_receive_grad(*trained(s))
    if recipe.frozen:
        yield "frozen", frozen
    yield "optimizer_coverage", lambda s, _: pt.assert_optimizer_coverage(s.recipe.model, s.optimizers)
    yield "healthy_run", lambda _, factory: run(factory).assert_healthy()
    if len(given.optimizers) == 1:
        yield "loss_decreases", lambda _, factory: run(factory).assert_loss_decreases(FALL)
        yield "overfits", overfits
    if given.custom_function:
        yield "gradcheck", gradcheck
    if recipe.training_step is None and recipe.batch_dim is not None and not normalised(recipe.model):
        yield "accumulation", accumulation


def normalised(model: nn.Module) -> bool:
    """Whether micro-batches differ from batches by design."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d)
    return any(isinstance(module, kinds) for module in model.modules())


class Called(nn.Module):
    """The model, called as the recipe calls it."""

    def __init__(self, given: Sample):
        super().__init__()
        self.model, self.given = given.recipe.model, given

    def forward(self, *inputs, **named):
        if named:
            return self.model(**named).logits
        return self.given.outputs(self.model, inputs if len(inputs) > 1 else inputs[0])


class Scored(Called):
    """The model and the recipe's loss in one."""

    def forward(self, *inputs, **named):
        given = named or (inputs if len(inputs) > 1 else inputs[0])
        return self.given.loss(self.model, given, self.given.targets)


def trained(given: Sample) -> tuple[nn.Module, Any, Callable[[Any], Any]]:
    """Model, inputs and loss, as its training assertions take them."""
    return Scored(given).train(), given.inputs, lambda loss: loss


def contract(name: str) -> Assertion:
    def check(given, factory):
        report = pt.check_inference_contract(Called(given).eval(), given.shown, checks=[name])
        report.raise_if_failed()

    return check


def output_spec(given, factory):
    sizes = given.recipe.shapes.partition("->")[2]
    specs = [
        pt.TensorSpec(tuple(int(s) if s.isdigit() else s for s in part.split()))
        for part in sizes.split(",")
    ]
    inputs = given.shown if isinstance(given.shown, tuple) else (given.shown,)
    model = Called(given).eval()
    for count in (len(inputs[0]), 1):
        with torch.inference_mode():
            outputs = model(*(part[:count] for part in inputs))
        pt.assert_output_spec(outputs, specs[0] if len(specs) == 1 else tuple(specs), b=count)


def like(optimizer: torch.optim.Optimizer) -> Callable[[Any], torch.optim.Optimizer]:
    """Makes optimizers with the same options."""
    names = inspect.signature(type(optimizer)).parameters
    group = optimizer.param_groups[0]
    options = {key: group[key] for key in group if key in names and key != "params"}
    return lambda parameters: type(optimizer)(parameters, **options)


def frozen(given, factory):
    patterns = [f"model.{pattern}" for pattern in given.recipe.frozen]
    make = like(given.optimizers[0])
    pt.assert_frozen(
        *trained(given),
        patterns,
        optimizer=lambda parameters: make([p for p in parameters if p.requires_grad]),
        steps=3,
    )


@cache
def run(factory: Factory) -> Any:
    """A short training, watched by its telemetry."""
    given = sample(factory)
    recipe = given.recipe

    def step(setup, batch):
        if recipe.training_step is None or len(given.optimizers) == 1:
            return standard(setup, batch)
        losses = []
        for optimizer, loss in recipe.training_step(setup.model, batch):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return sum(losses)

    standard = pt.standard_step(
        lambda model, batch: given.loss(model, *parts(batch)), max_grad_norm=recipe.max_grad_norm
    )
    scheduler = recipe.scheduler if recipe.scheduler_interval == "step" else None
    setup = pt.TrainingSetup(recipe.model, recipe.optimizer, scheduler)
    data = list(islice(batches(recipe.train_data), STEPS))
    return pt.run_training(lambda: setup, data, step, steps=STEPS)


def overfits(given, factory):
    make = like(given.optimizers[0])
    pt.assert_overfits_one_batch(*trained(given), max_final_ratio=FITTED, optimizer=make)


def gradcheck(given, factory):
    pt.assert_gradcheck(given.recipe.model.eval(), given.inputs[:2])


def accumulation(given, factory):
    def setup():
        model = sample(factory).recipe.model
        return model, torch.optim.SGD(model.parameters(), lr=0.1)

    batch = given.batch if isinstance(given.batch, dict) else parts(given.batch)
    pt.assert_accumulation_equivalent(
        setup,
        batch,
        loss_fn=lambda model, part: given.loss(model, *parts(part)),
        accumulation_steps=4,
    )
