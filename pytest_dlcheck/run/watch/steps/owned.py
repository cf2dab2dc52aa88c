"""Whose parameters they are: the model's, and the optimizer's that steps them now."""

from __future__ import annotations

import weakref
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.watch.scene import Scene, parameters_of
from pytest_dlcheck.run.watch.steps.owners import Owners


class Owned:
    """Parameters that one optimizer stepped first.

    Args:
        scene: what it trains.
        optimizer: which.

    Attributes:
        name: the model's and the optimizer's.
        keys: what is stepped, by identity.
        owner: the optimizer, not kept alive.
        shapes: of the model's parameters.
        model_keys: these, by identity.
    """

    def __init__(self, scene: Scene, optimizer: torch.optim.Optimizer) -> None:
        self.scene: Scene | None = scene
        self.name = f"{type(scene.model).__name__}, {type(optimizer).__name__}"
        self.keys = {id(p) for p in parameters_of(optimizer)}
        self.owner, self.owners = weakref.ref(optimizer), Owners(optimizer)
        self.shapes = [p.shape for p in scene.model.parameters()]
        self.model_keys = {id(p) for p in scene.model.parameters()}

    def taken_over(self, optimizer: torch.optim.Optimizer, keys: set[int]) -> bool:
        """Another optimizer steps parameters of this one; returns whether it is a new one."""
        self.owner = weakref.ref(optimizer)
        self.keys |= keys
        return self.owners.take_over(optimizer)

    def is_of_another_model(self, optimizer: torch.optim.Optimizer) -> bool:
        """Whether modules were replaced, and this optimizer is a new one."""
        if self.scene is None or self.owners.know(optimizer):
            return False
        return {id(p) for p in self.scene.model.parameters()} != self.model_keys

    def is_missed_by(self, optimizer: torch.optim.Optimizer) -> None:
        """A scheduler has stepped for an optimizer that does not step; it may be one of these."""
        if self.scene is not None and any(id(p) in self.keys for p in parameters_of(optimizer)):
            self.owners.schedule_steps(optimizer, self.owner())

    def steps_others(self) -> bool:
        """Whether its optimizer steps parameters that are not of its model."""
        return not self.keys <= self.model_keys

    def all_keys(self) -> set[int]:
        """What it steps, and what belongs to its model besides."""
        return self.keys | self.model_keys

    def is_in(self, state: Mapping[str, object]) -> bool:
        """Whether weights that were taken are those of its model, or some of them."""
        if self.scene is None:
            return False
        own = {p.data_ptr() for p in self.scene.model.parameters() if type(p) is nn.Parameter}
        return any(type(t) is Tensor and t.numel() > 0 and t.data_ptr() in own for t in state.values())

    def owns(self, module: nn.Module) -> bool:
        """Whether a module holds, or is part of, what is trained here."""
        return any(id(p) in self.keys for p in module.parameters())
