"""Parts of a model that no gradient reaches, although what it gives changes with them.

A copy is tried, as the experiment on recipes does it: its graph is cut within the model. No judgement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.errors import CannotTellError
from pytest_dlcheck.run.tensors.tree import tensors
from pytest_dlcheck.trace import Row

_TAKEN = ("cut_after", "cut_before", "blind", "indices")


def as_a_loss(forward: Callable[[nn.Module, Any], Any]) -> Callable[[nn.Module, Any], Tensor]:
    """A training step whose loss is made of the only result with a graph.

    Args:
        forward: calls a model with a batch.
    """

    def step(model: nn.Module, batch: Any) -> Tensor:
        found = [tensor for tensor in tensors(forward(model, batch)) if tensor.requires_grad]
        if len(found) != 1:
            raise CannotTellError("the model has no result with a graph, or several")
        return found[0].double().square().mean()

    return step


def may_be_cut(model: nn.Module) -> bool:
    """Whether parameters have no gradient where a watch ends, or are as zero as their gradients are."""
    asked = [p for p in model.parameters() if p.requires_grad]
    if any(p.grad is None for p in asked):
        return True
    matrices = [p for p in asked if p.dim() > 1 and p.numel()]
    moved = torch.stack([p.detach().any() for p in matrices]).tolist() if matrices else []
    still = [p for p, moves in zip(matrices, moved, strict=True) if not moves]
    return any(p.grad is not None and not bool(p.grad.any()) for p in still)


def merged(places: Sequence[Row], tried: Sequence[Row]) -> Iterator[Row]:
    """What was seen of places without gradient, and what a copy tells of the same.

    Args:
        places: as a watch sees them.
        tried: of a copy.
    """
    felt = [row for row in tried if row.flag("influences")]
    cut = {row.text("site"): row for row in felt if row.text("state") == "absent"}
    products = {row.text("site"): row.text("product") for row in felt}
    for row in places:
        told = cut.get(row.text("site"))
        if row.text("state") == "zero" and (product := products.get(row.text("site"))):
            yield Row(row, influences=True, product=product)
            continue
        is_open = row.text("state") == "absent" and row.integer("called") and not row.flag("influences")
        if told is None or not is_open:
            yield row
        else:
            yield Row(row, influences=True, **{name: told.get(name) for name in _TAKEN})
