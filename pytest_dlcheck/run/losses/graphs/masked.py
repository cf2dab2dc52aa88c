"""Masks that come to a loss with or after its mean. Read from a loss's graph; nothing is judged."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from torch import Tensor

from pytest_dlcheck.run.losses.graphs.cuts import made
from pytest_dlcheck.run.losses.graphs.kept import constant_of, kept
from pytest_dlcheck.run.losses.graphs.outputs import plain
from pytest_dlcheck.run.tensors.graph import Node, edges_of, entire, inputs_of, kind_of

NODES = 64
"""Nodes of a loss that are looked at until its means are found."""
LEAST = 0.1
"""Share of the places (ratio) from which on the mean is evidently another; chosen."""
_LOSSES = frozenset(
    {"Pow", "Abs", "MseLoss", "L1Loss", "SmoothL1Loss", "HuberLoss"}
    | {"NllLoss", "NllLoss2D", "BinaryCrossEntropyWithLogits"}
)
"""What makes a loss of each place; of a logarithm or a margin zeros may choose the term."""
_MEANS, _SUMMED = frozenset({"Mean"}), frozenset({"Mean", "Sum"})
_PASSES = frozenset({"Add", "Sub", "Neg", "Mul", "Div", "View", "Squeeze"})


def averaged_away(root: Node) -> str:
    """The share of zeros in a mask that losses are multiplied by before they are averaged over all.

    In words; empty where there is none. A weight for each sample is no mask: samples may be left out
    of a loss so, and still count.

    Args:
        root: the node of the loss.
    """
    for product, side, mask in _weighed(root, _MEANS):
        share = _zeros(mask, made(product)) if kind_of(plain(side)) in _LOSSES else 0.0
        if share >= LEAST:
            return f"{share:.0%}"
    return ""


def came_late(root: Node) -> str:
    """The share of zeros in a mask that a loss is multiplied by when it is a mean already: one number.

    In words; empty where there is none.

    Args:
        root: the node of the loss.
    """
    for _, side, mask in _weighed(root, _SUMMED):
        is_one = made(side) == [] and kind_of(plain(side)) in _LOSSES | {"Mean"}
        share = _zeros(mask, _averaged(plain(side))) if is_one else 0.0
        if share >= LEAST:
            return f"{share:.0%}"
    return ""


def _averaged(node: Node) -> list[int] | None:
    """The shape of what a mean is over."""
    if kind_of(node) == "Mean":
        return made(inputs_of(node)[0]) or None
    given = kept(node, "target" if kind_of(node).startswith("NllLoss") else "self")
    return None if given is None else list(given.shape)


def _weighed(root: Node, kinds: AbstractSet[str]) -> Iterator[tuple[Node, Node, Tensor | None]]:
    """Products with a constant that are added up whole, what is multiplied in them, and by what."""
    if kind_of(root) not in kinds | _PASSES:
        return
    for node in entire([root], NODES, _below) or ():
        product = inputs_of(node)[0] if kind_of(node) in kinds and made(node) == [] else None
        if product is not None and kind_of(product) == "Mul" and len(edges := edges_of(product)) == 1:
            yield product, product.next_functions[edges[0]][0], constant_of(product)


def _zeros(mask: Tensor | None, shape: list[int] | None) -> float:
    """The share of zeros among zeros and ones, of several places a sample."""
    if mask is None or mask.dim() <= 1 or list(mask.shape) != shape or mask[0].numel() <= 1:
        return 0.0
    is_zero = mask == 0
    share = float(is_zero.float().mean())
    return share if share < 1 and bool((is_zero | (mask == 1)).all()) else 0.0


def _below(node: Node) -> list[Node]:
    return inputs_of(node) if kind_of(node) in _PASSES else []
