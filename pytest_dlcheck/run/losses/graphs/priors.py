"""Learned priors: a posterior that serves another purpose is held against what only follows it.

A divergence of a posterior from a prior with parameters of its own is to move both, unlike one of a
teacher from a student. Told by what else of a loss either side serves. No judgement.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from pytest_dlcheck.run.tensors.graph import Node, entire, inputs_of, kind_of

NODES = 20_000
"""Nodes of a graph from which on it is left, and nothing is held against it."""


def is_prior(root: Node, comparing: Collection[Node], teacher: Node, student: Node) -> bool:
    """Whether the one side is a learned prior of the other, or that cannot be told.

    The prior serves nothing else; its posterior does, by further layers such as a decoder. A teacher
    that serves something else is compared there directly, as with labels.

    Args:
        root: the node of the loss.
        comparing: the nodes that compare them.
        teacher: the scores of the side that weighs, or is the target.
        student: those of the other.
    """

    def elsewhere(node: Node) -> list[Node]:
        return [child for child in inputs_of(node) if child not in comparing]

    if root in comparing:
        return False
    whole = entire([root], NODES, elsewhere)
    if whole is None:
        return True
    if student in whole or teacher not in whole:
        return False
    return teacher not in (entire([root], NODES, _up_to_layers(elsewhere)) or ())


def _up_to_layers(below: Callable[[Node], Iterable[Node]]) -> Callable[[Node], Iterable[Node]]:
    return lambda node: () if _is_layer(node) else below(node)


def _is_layer(node: Node) -> bool:
    """Whether it puts parameters to what it is given."""
    given = inputs_of(node)
    given += [below for child in given if kind_of(child) == "T" for below in inputs_of(child)]
    return any(hasattr(child, "variable") for child in given)
