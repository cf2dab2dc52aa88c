"""Whether a loss is a sum of several terms. Read from its graph. No judgement."""

from __future__ import annotations

from pytest_dlcheck.run.losses.graphs.outputs import RESHAPES
from pytest_dlcheck.run.tensors.graph import Node, edges_of, kind_of

_REDUCES = RESHAPES | {"Mean", "Sum", "Neg", "Div", "Mul", "Rsub", "Add", "Sub"}
_JOINS = frozenset({"Add", "Sub", "Stack", "Cat"})


def joined(root: Node) -> bool:
    """Whether several terms with gradients are put together before anything is compared.

    Args:
        root: the node of the loss.
    """
    node = root
    while kind_of(node) in _REDUCES and len(edges := edges_of(node)) == 1:
        node = node.next_functions[edges[0]][0]
    return kind_of(node) in _JOINS and node.next_functions[0][0] is not node.next_functions[-1][0]
