"""How the graph of a loss ties parameters together: which of them work on what others have given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from pytest_dlcheck.run.tensors.graph import inner_first, inputs_of, roots
from pytest_dlcheck.run.watch.steps.leaves import NODES

VIEWS = 3
"""Nodes between a parameter and the layer's own: a transposition, a cast, a broadcast."""


def met(losses: Sequence[Tensor], parameters: set[int], others: set[int]) -> set[int]:
    """Those of some parameters whose layers' results a layer with one of the others works on.

    Two branches that only meet in the loss, as a random target network and its predictor do, are not
    tied so: no layer of one works on what the other gives.

    Args:
        losses: what backward is called on.
        parameters: which, by identity, and
        others: such as those that an optimizer steps.

    Returns:
        Their identities; an empty set where the graph has more nodes than are looked at.
    """
    below: dict[Any, frozenset[int]] = {}
    found: set[int] = set()
    for node in inner_first(roots(losses), NODES) or ():
        children = inputs_of(node)
        own = {key for child in children if (key := _leaf(child)) is not None}
        given: frozenset[int] = frozenset().union(
            *(below[child] for child in children if _leaf(child) is None)
        )
        if own & others:
            found |= given
        below[node] = given | (own & parameters)
    return found


def _leaf(node: Any) -> int | None:
    """The parameter that a node hands on as it is, or in another shape; by its identity."""
    for _ in range(VIEWS + 1):
        if isinstance(variable := getattr(node, "variable", None), Tensor):
            return id(variable)
        children = node.next_functions
        if len(children) != 1 or children[0][0] is None:
            return None
        node = children[0][0]
    return None
