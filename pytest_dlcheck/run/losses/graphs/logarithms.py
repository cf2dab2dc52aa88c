"""Logarithms of probabilities, as torch makes them or written out, found in the graph of a loss."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from pytest_dlcheck.run.losses.graphs.kept import kept
from pytest_dlcheck.run.losses.graphs.outputs import RESHAPES, plain
from pytest_dlcheck.run.tensors.graph import Node, entire, inputs_of, kind_of

LOGARITHMS = frozenset({"Log", "LogSoftmax", "LogSigmoid"})
_ONE_BY_ONE = RESHAPES | {"Mul", "Pow", "Rsub", "Exp", "Neg", "Add", "Sub"}
_DEEPEST = 16
"""Nodes between a score that is chosen and its logarithm."""


def are_normalised(scores: Node, logsumexps: Iterable[Node]) -> bool:
    """Whether scores are logarithms of probabilities, or become such in the loss."""
    within = [plain(child) for node in logsumexps for child in inputs_of(node)]
    if any(plain(scores) is each for each in within) or kind_of(plain(scores)) == "Softmax":
        return True
    return logarithms_of(scores) is not None


def logarithms_of(scores: Node) -> Node:
    """The node of the logarithms of probabilities that scores are made of, one by one; None for none.

    As they are, or weighed by their own probabilities, as in a focal loss.
    """

    def below(node: Node) -> list[Node]:
        return inputs_of(node) if kind_of(node) in _ONE_BY_ONE and not _is_log_softmax(node) else []

    found = entire([plain(scores)], _DEEPEST, below) or []
    ends = [node for node in found if not below(node)]
    taken = [end for end in ends if kind_of(end) in LOGARITHMS or _is_log_softmax(end)]
    if len(taken) != 1:
        return None
    weights = {plain(child) for child in inputs_of(taken[0])} if kind_of(taken[0]) == "Log" else set()
    return taken[0] if {*ends} <= {*taken, *weights} else None


def values_of(logarithms: Node) -> Tensor | None:
    """The logarithms themselves, where a node, or what it is made of, has kept them."""
    kind = kind_of(logarithms)
    if kind == "Log":
        given = kept(logarithms, "self")
        return None if given is None else given.log()
    if kind != "Sub":
        return kept(logarithms, "result")
    summed = next((n for c in inputs_of(logarithms) if kind_of(n := plain(c)) == "Logsumexp"), None)
    given, total = kept(summed, "self"), kept(summed, "result")
    if given is None or total is None or total.dim() != given.dim():
        return None
    return given - total


def _is_log_softmax(node: Node) -> bool:
    """Whether a node is a log-softmax that is written out: scores less their log-sum-exp."""
    return kind_of(node) == "Sub" and any(
        kind_of(plain(child)) == "Logsumexp" for child in inputs_of(node)
    )
