"""What a node of a graph has kept for its derivative, where reading it runs no code of the user's."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pytest_dlcheck.run.losses.graphs.packing import is_packed
from pytest_dlcheck.run.tensors.graph import edges_of

NONE, MEAN = 0, 1
"""How torch's loss nodes write ``reduction="none"`` and ``"mean"``."""


def kept(node: Any, name: str) -> Tensor | None:
    """The tensor that a node has saved under a name; None where it has none, or none any more.

    None, too, where it was packed as it was saved. Unpacking runs the user's forward once more under
    activation checkpointing, and copies what was offloaded.

    Args:
        node: of a graph, of any kind.
        name: as torch calls it, such as ``self``, ``target`` or ``result``.
    """
    try:
        saved = getattr(node, f"_raw_saved_{name}", None)
        if saved is None or is_packed(saved):
            return None
        tensor = getattr(node, f"_saved_{name}")
    except RuntimeError:  # the graph is gone
        return None
    return tensor.detach() if isinstance(tensor, Tensor) else None


def constant_of(node: Any) -> Tensor | None:
    """The one of a node's two operands that no gradient is asked of; None where each has a graph.

    Args:
        node: of a product, a quotient or the like.
    """
    edges = edges_of(node)
    return kept(node, "self" if edges == [1] else "other") if len(edges) == 1 else None


def kept_list(node: Any, name: str) -> list[Tensor | None]:
    """The tensors that a node has saved as a list, or Nones; empty where it has none, or packed."""
    try:
        saved = getattr(node, f"_raw_saved_{name}", None) or ()
        if any(map(is_packed, saved)):
            return []
        tensors = getattr(node, f"_saved_{name}", None) or ()
    except RuntimeError:  # the graph is gone
        return []
    return [each.detach() if isinstance(each, Tensor) else None for each in tensors]


def signed(number: int) -> int:
    """A number that a node has saved: it gives negative ones as if they had no sign."""
    return number - (1 << 64) if number >= 1 << 63 else number
