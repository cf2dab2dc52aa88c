"""The parts of a recipe: checked for what they should be, and placed. Nothing is run."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from pytest_dlcheck.recipe import RecipeError, described


def placed(model: nn.Module, device: torch.device) -> torch.device:
    """Where the model is, once it is there: where its factory placed it, else on this device."""
    there = {p.device for p in model.parameters()} | {b.device for b in model.buffers()}
    if there <= {torch.device("cpu")}:
        if device.type != "cpu":
            model.to(device)
        return device
    return next(p.device for p in (*model.parameters(), *model.buffers()) if p.device.type != "cpu")


def optimizers_of(given: Any) -> list[torch.optim.Optimizer]:
    """The optimizers of a recipe: none, one or several.

    Raises:
        RecipeError: one of them is none, or holds no parameters.
    """
    optimizers = _listed(given)
    for optimizer in optimizers:
        if not (hasattr(optimizer, "step") and hasattr(optimizer, "param_groups")):
            wanted = "a torch.optim.Optimizer: give one built over this model's parameters"
            raise RecipeError(instead("optimizer=", optimizer, wanted))
        if not any(group["params"] for group in optimizer.param_groups):
            raise RecipeError(
                f"optimizer= ({type(optimizer).__name__}) holds no parameters: "
                "build it over model.parameters()"
            )
    return optimizers


def schedulers_of(given: Any) -> list[Any]:
    """The schedulers of a recipe: none, one or several.

    Raises:
        RecipeError: one of them is none.
    """
    schedulers = _listed(given)
    for scheduler in schedulers:
        if isinstance(scheduler, type) or not hasattr(scheduler, "step"):
            wanted = "a learning rate scheduler: give one built over this recipe's optimizer"
            raise RecipeError(instead("scheduler=", scheduler, wanted))
    return schedulers


def instead(field: str, given: object, wanted: str) -> str:
    """What a field of a recipe holds that it should not."""
    found = described(given)
    return f"{field} is {found}" if isinstance(given, type) else f"{field} is {found}, not {wanted}"


def _listed(given: Any) -> list[Any]:
    if given is None:
        return []
    return list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]


def takes_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Whether its step needs a closure that evaluates the loss anew (LBFGS)."""
    parameters = inspect.signature(optimizer.step).parameters
    closure = parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty
