"""Parts of a model that no gradient reaches, although what it gives changes with them.

A copy is tried, as the experiment on recipes does it: its graph is cut within the model. No judgement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from pytest_dlcheck.run.errors import CannotTellError
from pytest_dlcheck.run.tree import tensors
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


def merged(places: Sequence[Row], tried: Sequence[Row]) -> Iterator[Row]:
    """What was seen of places without gradient, and what a copy tells of the same.

    Args:
        places: as a watch sees them.
        tried: of a copy.
    """
    cut = {
        row.text("site"): row
        for row in tried
        if row.text("state") == "absent" and row.flag("influences")
    }
    for row in places:
        told = cut.get(row.text("site"))
        is_open = row.text("state") == "absent" and row.integer("called") and not row.flag("influences")
        if told is None or not is_open:
            yield row
        else:
            yield Row(row, influences=True, **{name: told.get(name) for name in _TAKEN})
