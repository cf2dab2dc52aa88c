"""The autograd graph of a recipe's losses, walked to its leaves. Nothing is propagated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.errors import CannotTellError
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tree import tensors


def losses(rig: Rig, batch: Any) -> Iterator[tuple[Any, Tensor]]:
    """Every loss that a step propagates, with the optimizer it is yielded for (None where shared).

    Call inside ``rig.undisturbed()``.

    Raises:
        CannotTellError: a loss is not connected to any graph.
    """
    with torch.enable_grad(), rig.autocast():
        if rig.objective.is_generator:
            pairs = rig.objective.objectives(batch)
        else:
            loss, _ = rig.objective.raw_loss(batch)
            pairs = iter([(None, loss)])
        for optimizer, loss in pairs:
            if not getattr(loss, "requires_grad", False):
                raise CannotTellError("the loss is not connected to a graph: nothing gets a gradient")
            yield optimizer, loss


def leaves(tensor: Tensor) -> list[Tensor]:
    """Every tensor in which the backward pass of this one would accumulate a gradient."""
    if tensor.grad_fn is None:
        return [tensor] if tensor.requires_grad else []
    found: dict[int, Tensor] = {}
    seen = {tensor.grad_fn}
    open_nodes = [tensor.grad_fn]
    while open_nodes:
        node = open_nodes.pop()
        variable = getattr(node, "variable", None)
        if isinstance(variable, Tensor):
            found[id(variable)] = variable
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                open_nodes.append(following)
    return list(found.values())


def strangers(rig: Rig, batch: Any) -> dict[int, Tensor]:
    """Leaves that get a gradient and are known to no module, no optimizer and no batch."""
    known = {id(p) for p in rig.parameters.values()} | {id(t) for t in tensors(batch)}
    found = [leaf for _, loss in losses(rig, batch) for leaf in leaves(loss)]
    return {id(leaf): leaf for leaf in found if id(leaf) not in known}
