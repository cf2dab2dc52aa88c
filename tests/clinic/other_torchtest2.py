"""torchtest2 on a recipe: `check_model` with all that the recipe declares."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import torch
import torchtest2

from .case import Factory
from .examine import Told
from .others import Sample, sample

OPTIONS: dict[str, Any] = {"overfit_steps": 200, "overfit_ratio": 0.5}
"""Its own default asks for a tenth of the first loss, which healthy regressions and language models
do not reach in 200 steps: with a half, more faults are told from their twins, not fewer."""


def told(factory: Factory) -> Told:
    """What it fails on and warns of."""
    began = perf_counter()
    try:
        report = examined(sample(factory))
    except Exception as error:  # noqa: BLE001  whatever a sick recipe raises is found
        return Told((("raised", repr(error)),), (), perf_counter() - began)
    return Told(
        tuple((result.name, result.message) for result in report.failures),
        tuple((result.name, result.message) for result in report.warnings),
        perf_counter() - began,
    )


def examined(given: Sample) -> Any:
    """Its report."""
    recipe = given.recipe
    own_loss = recipe.training_step is not None or isinstance(given.batch, dict)

    def forward(model, inputs, targets):
        if own_loss:
            return {"loss": given.loss(model, given.inputs, given.targets)}
        return given.outputs(model, inputs)

    loss = (lambda outputs, targets: outputs["loss"]) if own_loss else recipe.loss
    return torchtest2.check_model(
        recipe.model,
        given.shown,
        given.targets,
        loss_fn=loss,
        optimizer=optimizer(given),
        output_shape=output_shape(given),
        frozen=[pattern.removesuffix(".*") for pattern in recipe.frozen],
        gradcheck=given.custom_function,
        forward_fn=forward,
        eval_forward_fn=given.outputs if recipe.forward or not own_loss else None,
        batch_dim=recipe.batch_dim,
        **OPTIONS,
    )


def optimizer(given: Sample) -> torch.optim.Optimizer | None:
    """The recipe's; of several, one over the parameters of all, as it takes no more."""
    several = given.optimizers
    if len(several) == 1:
        return several[0]
    parameters = {id(p): p for one in several for group in one.param_groups for p in group["params"]}
    return torch.optim.Adam(parameters.values(), lr=several[0].param_groups[0]["lr"])


def output_shape(given: Sample) -> tuple[int | None, ...] | None:
    """The declared shape of a single output, named sizes left open."""
    if given.recipe.shapes is None:
        return None
    outputs = given.recipe.shapes.partition("->")[2]
    if ":" in outputs or "," in outputs:
        return None
    return tuple(int(size) if size.isdigit() else None for size in outputs.split())
