"""The first forward and loss, in which a recipe shows that it runs, and what its graphs tell."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.custom_functions import custom_functions
from pytest_dlcheck.run.errors import CannotTellError
from pytest_dlcheck.run.graph import leaves
from pytest_dlcheck.run.rig import Rig


@dataclass
class FirstPass:
    """What the first pass of the batch showed.

    Attributes:
        order: the place of each module called with gradients on, in the order of first calls.
        reached: per loss its optimizer (None where shared) and the leaves of its graph; None instead
            of leaves where it has no graph.
        functions: the user's own autograd Functions in the graphs.
    """

    order: dict[str, int] = field(default_factory=dict)
    reached: list[tuple[Any, list[Tensor] | None]] = field(default_factory=list)
    functions: dict[type[Any], None] = field(default_factory=dict)

    def note(self, optimizer: Any, loss: Any) -> None:
        """Walk the graph of one loss."""
        connected = isinstance(loss, Tensor) and loss.requires_grad
        self.reached.append((optimizer, leaves(loss) if connected else None))
        if connected:
            self.functions |= dict.fromkeys(custom_functions(loss))

    def leaves(self) -> list[tuple[Any, list[Tensor]]]:
        """The leaves of every loss.

        Raises:
            CannotTellError: a loss is not connected to any graph.
        """
        if any(found is None for _, found in self.reached):
            raise CannotTellError("the loss is not connected to a graph: nothing gets a gradient")
        return [(optimizer, found or []) for optimizer, found in self.reached]


def first_pass(rig: Rig) -> FirstPass:
    """Let the first batch pass through forward and loss; what the recipe raises, this raises."""
    seen, handles = FirstPass(), []
    for name, module in rig.model.named_modules():

        def enter(_: Any, __: Any, name: str = name) -> None:
            if torch.is_grad_enabled():
                seen.order.setdefault(name, len(seen.order))

        with suppress(Exception):  # some modules refuse hooks; then their order is not known
            handles.append(module.register_forward_pre_hook(enter))
    try:
        with rig.undisturbed(), torch.enable_grad(), rig.autocast():
            if rig.objective.is_generator:
                for optimizer, loss in rig.objective.objectives(rig.batch):
                    seen.note(optimizer, loss)
            else:
                seen.note(None, rig.objective.raw_loss(rig.batch)[0])
    finally:
        for handle in handles:
            handle.remove()
    return seen
