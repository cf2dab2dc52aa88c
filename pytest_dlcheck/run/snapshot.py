"""A recipe that is built once: its state is kept and put back before every trial."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch.nn.parameter import is_lazy
from torch.utils.data import DataLoader

from pytest_dlcheck.recipe import Recipe, RecipeError
from pytest_dlcheck.run.tree import map_tensors

_PLAIN = (bool, int, float, str)


class Snapshot:
    """The state of a recipe as its factory left it.

    Kept are weights and buffers (a copy on the CPU), ``requires_grad``, gradients, modes and other
    plain attributes of every module, the optimizers', schedulers' and loaders' state.

    Args:
        recipe: what the factory returned; anything else is handed back as it is.

    Raises:
        RecipeError: the state cannot be put back, because it is not there yet.
    """

    def __init__(self, recipe: Any) -> None:
        self.recipe = recipe
        if not isinstance(recipe, Recipe) or not isinstance(recipe.model, torch.nn.Module):
            return
        model = recipe.model
        if any(is_lazy(parameter) for parameter in model.parameters()):
            raise RecipeError(
                "a model with lazy modules that are not made yet cannot be put back to its start: "
                "call it on a batch inside the factory, or leave out rebuild=False"
            )
        self._weights = _on_cpu(model.state_dict())
        self._flags = {p: p.requires_grad for p in model.parameters()}
        self._gradients = {p: p.grad for p in model.parameters()}
        self._attributes = {
            module: {k: v for k, v in vars(module).items() if isinstance(v, _PLAIN)}
            for module in model.modules()
        }
        self._stateful = [
            (part, copy.deepcopy(part.state_dict()))
            for part in (*_listed(recipe.optimizer), *_listed(recipe.scheduler))
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
        if not hasattr(self, "_weights"):
            return self.recipe
        model = self.recipe.model
        with torch.no_grad():
            model.load_state_dict(self._weights)
        for parameter, flag in self._flags.items():
            parameter.requires_grad_(flag)
            parameter.grad = self._gradients[parameter]
        for module, attributes in self._attributes.items():
            vars(module).update(attributes)
        for part, state in self._stateful:
            part.load_state_dict(copy.deepcopy(state))
        for generator, state in self._generators:
            generator.set_state(state)
        return self.recipe


def _on_cpu(state: Any) -> Any:
    return map_tensors(dict(state), lambda tensor: tensor.detach().to("cpu", copy=True))


def _listed(given: Any) -> list[Any]:
    if given is None:
        return []
    return list(given) if isinstance(given, (list, tuple)) else [given]
