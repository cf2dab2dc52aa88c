"""Log-probabilities of actions, weighed by what a critic says, with gradients. Read from a loss's graph.

The loss of an actor weighs the logarithm of what was chosen by how much better that was than the critic
has expected. Where the latter has gradients, the critic is drawn along by the actor's luck. No
judgement.
"""

from __future__ import annotations

from pytest_dlcheck.run.losses.graphs.cuts import made
from pytest_dlcheck.run.losses.graphs.logarithms import logarithms_of
from pytest_dlcheck.run.tensors.graph import Node, entire, inputs_of, kind_of

NODES = 64
"""Nodes of a loss that are looked at until its products are found, and"""
DEEPEST = 128
"""those of one side of a product: an advantage may be put together step by step."""
_SUMS = frozenset({"Add", "Sub", "Stack", "Cat"})
_REDUCES = _SUMS | {"Mean", "Sum", "Neg", "Div", "Mul", "Squeeze", "View"}
SHAPES = frozenset({"Stack", "Cat", "Squeeze", "Unsqueeze", "View", "UnsafeView", "Select", "Neg"})
"""What gives numbers another shape, or the other sign."""


def of_a_critic(root: Node) -> str:
    """The shape of such a product; empty where there is none.

    Args:
        root: the node of the loss.
    """
    if kind_of(root) not in _REDUCES:
        return ""
    for node in entire([root], NODES, _below) or ():
        if kind_of(node) == "Mul" and len(inputs_of(node)) > 1:
            one, other = inputs_of(node)
            for side, weight in ((one, other), (other, one)):
                ends = chosen(side)
                if ends and _is_less_a_value(weight) and not _is_made_of(weight, ends):
                    return str(made(node))
    return ""


def _below(node: Node) -> list[Node]:
    children = inputs_of(node)
    goes_on = kind_of(node) in _REDUCES and (len(children) <= 1 or kind_of(node) in _SUMS)
    return children if goes_on else []


def _within(node: Node, kinds: frozenset[str]) -> list[Node]:
    """The nodes from here on, through those of some kinds, and the first ones of others."""
    return entire([node], DEEPEST, lambda n: inputs_of(n) if kind_of(n) in kinds else ()) or []


def chosen(side: Node) -> set[Node]:
    """Where logarithms of probabilities are chosen; empty where a side is made of anything else."""
    ends = {node for node in _within(side, SHAPES) if kind_of(node) not in SHAPES}
    are_chosen = all(
        kind_of(end) in {"Gather", "Index"} and logarithms_of(inputs_of(end)[0]) is not None
        for end in ends
    )
    return ends if are_chosen else set()


def _is_made_of(weight: Node, ends: set[Node]) -> bool:
    """Whether what is chosen weighs itself, as in a focal loss."""
    return not ends.isdisjoint(entire([weight], DEEPEST) or ())


def _is_less_a_value(side: Node) -> bool:
    """Whether a network's answers are taken off what is known: returns less values, of many samples."""
    differences = [node for node in _within(side, SHAPES) if kind_of(node) == "Sub"]
    return bool(differences) and all(
        node.next_functions[0][0] is None and len(inputs_of(node)) == 1 and made(node) not in ([], [1])
        for node in differences
    )
