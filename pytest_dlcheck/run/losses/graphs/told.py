"""Whether losses push scores by what these are told, up or down, and not by where they are.

So it is with hard labels, logistic and hinge losses, and plain means; not with squares, distances, soft
labels, and everything else that is not known. Read from the graph of a loss. No judgement.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pytest_dlcheck.run.losses.graphs.kept import constant_of, kept
from pytest_dlcheck.run.losses.graphs.outputs import RESHAPES
from pytest_dlcheck.run.tensors.graph import Node, edges_of, inner_first, inputs_of, kind_of, roots

NODES = 20_000
"""Nodes of a loss from which on nothing is told: a part of it would not do."""
_CROSS_ENTROPIES = frozenset({"BinaryCrossEntropy", "BinaryCrossEntropyWithLogits"})
_BOUNDED = frozenset({"Softplus", "LogSigmoid", "Relu", "Clamp", "ClampMin"})
_PLAIN = RESHAPES | {
    *("Mean", "Sum", "Neg", "Add", "Sub", "Rsub", "Cat", "Stack", "Select", "Slice", "Split"),
    *("Unbind", "Expand", "T", "Transpose", "Permute", "Sigmoid"),
}
"""What hands on the sign of a gradient, or turns it, wherever the scores are."""


class _Mark:
    """The key under which a node carries the name of the scores that it has made."""


@dataclass(frozen=True)
class Told:
    """What a loss makes of scores.

    Attributes:
        scores: as they were marked.
        is_known: whether it pushes them by what they are told only.
        is_labelled: whether that is a label: no score is pushed on and on, as by a plain mean.
    """

    scores: object
    is_known: bool
    is_labelled: bool


def mark(output: Tensor, name: object) -> None:
    """Let scores be known by this name in the graphs that they become a part of."""
    node: Any = output.grad_fn
    node.metadata[_Mark] = name


def told(losses: Sequence[Tensor]) -> list[Told] | None:
    """What some losses make of the scores that were marked; None where they are too large to tell.

    Args:
        losses: what is propagated.
    """
    order = inner_first(roots(losses), NODES, _below)
    if order is None:
        return None
    leading: set[Node] = set()
    for node in order:
        if _Mark in node.metadata or not leading.isdisjoint(inputs_of(node)):
            leading.add(node)
    uses = Counter(child for node in leading for child in _below(node) if child in leading)
    known = dict.fromkeys(leading, True)
    labelled = dict.fromkeys(leading, False)
    for node in reversed([node for node in order if node in leading]):
        hands_on = known[node] and uses[node] <= 1  # what is used twice may be pushed both ways
        known[node] = hands_on
        for child in _below(node):
            if child in leading:
                known[child] = hands_on and _is_known(node)
                labelled[child] = labelled[node] or kind_of(node) in _CROSS_ENTROPIES | _BOUNDED
    marked = [node for node in leading if _Mark in node.metadata]
    return [Told(node.metadata[_Mark], known[node], labelled[node]) for node in marked]


def _below(node: Node) -> Iterable[Node]:
    return () if _Mark in node.metadata else inputs_of(node)


def _is_known(node: Node) -> bool:
    kind, edges = kind_of(node), edges_of(node)
    if kind in _PLAIN or kind in _BOUNDED:
        return True
    if kind in {"Mul", "Div"} and len(edges) == 1:
        factor = constant_of(node)
        return (kind, edges) != ("Div", [1]) and factor is not None and factor.numel() == 1
    if kind not in _CROSS_ENTROPIES or edges != [0]:
        return False
    target = kept(node, "target")
    return target is not None and bool(((target == 0) | (target == 1)).all())
