"""A recipe that is built once: its state is kept and put back before every trial."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch.nn.parameter import is_lazy
from torch.utils.data import DataLoader

from pytest_dlcheck.recipe import Recipe, RecipeError
from pytest_dlcheck.run.tensors.memory import refilled

_PLAIN = (bool, int, float, str)


class Snapshot:
    """The state of a recipe as its factory left it.

    Kept are parameters and buffers of the model and the loss (a copy on the CPU, and where they were),
    ``requires_grad``, gradients, modes and other plain attributes of every module, what else the
    optimizers hold, and the optimizers', schedulers' and loaders' state.

    Args:
        recipe: what the factory returned; anything else is handed back as it is, and so is a recipe
            whose parts are not what they should be: whoever runs it says so.

    Raises:
        RecipeError: the state cannot be put back, because it is not there yet.
    """

    def __init__(self, recipe: Any) -> None:
        self.recipe = recipe
        if not isinstance(recipe, Recipe) or not isinstance(recipe.model, torch.nn.Module):
            return
        helpers = *_listed(recipe.optimizer), *_listed(recipe.scheduler)
        optimizers = _listed(recipe.optimizer)
        if any(isinstance(each, type) for each in helpers) or not all(map(_has_groups, optimizers)):
            return
        model = recipe.model
        if any(is_lazy(parameter) for parameter in model.parameters()):
            raise RecipeError(
                "a model with lazy modules that are not made yet cannot be put back to its start: "
                "call it on a batch inside the factory, or leave out rebuild=False"
            )
        roots = [part for part in (model, recipe.loss) if isinstance(part, torch.nn.Module)]
        modules = [module for root in roots for module in root.modules()]
        held = [p for o in optimizers for g in o.param_groups for p in g["params"]]
        parameters = dict.fromkeys([*(p for root in roots for p in root.parameters()), *held])
        self._parameters = [
            (p, p.data, _kept(p), p.requires_grad, None if p.grad is None else p.grad.clone())
            for p in parameters
        ]
        self._buffers = [
            (module, name, buffer, buffer.data, _kept(buffer))
            for module in modules
            for name, buffer in module.named_buffers(recurse=False)
        ]
        self._attributes = {
            module: {k: v for k, v in vars(module).items() if isinstance(v, _PLAIN)}
            for module in modules
        }
        self._stateful = [
            (part, copy.deepcopy(part.state_dict()))
            for part in helpers
            if hasattr(part, "state_dict") and hasattr(part, "load_state_dict")
        ]
        generators = [
            loader.generator
            for loader in (recipe.train_data, recipe.val_data)
            if isinstance(loader, DataLoader) and loader.generator is not None
        ]
        self._generators = [(generator, generator.get_state()) for generator in generators]

    def restored(self) -> Any:
        """The recipe, as its factory left it."""
        if not hasattr(self, "_parameters"):
            return self.recipe
        for parameter, memory, value, flag, gradient in self._parameters:
            parameter.grad = None
            parameter.data = refilled(memory, value)
            parameter.requires_grad_(flag)
            parameter.grad = None if gradient is None else gradient.clone()
        for module, name, buffer, memory, value in self._buffers:
            if buffer.is_inference():  # nothing can be put into it
                setattr(module, name, value.to(memory, copy=True))
                continue
            buffer.data = refilled(memory, value)
            setattr(module, name, buffer)
        for module, attributes in self._attributes.items():
            vars(module).update(attributes)
        for part, state in self._stateful:
            part.load_state_dict(copy.deepcopy(state))
        for generator, state in self._generators:
            generator.set_state(state)
        return self.recipe


def _kept(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("cpu", copy=True)


def _has_groups(optimizer: Any) -> bool:
    return hasattr(optimizer, "param_groups")


def _listed(given: Any) -> list[Any]:
    if given is None:
        return []
    return list(given) if isinstance(given, (list, tuple)) else [given]
