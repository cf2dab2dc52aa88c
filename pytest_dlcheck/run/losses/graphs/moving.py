"""Whether gradients flow into the targets of a loss, too. Read from its graph; nothing is judged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from torch import Tensor

from pytest_dlcheck.run.losses.graphs.near import Near
from pytest_dlcheck.run.losses.graphs.priors import is_prior
from pytest_dlcheck.run.tensors.graph import Node, inputs_of, kind_of, variables, walk

_STEPS = 4
"""Nodes between a product and the softmax on either side of it: views, and divisions by numbers."""
_NEAR = 64
"""Nodes behind scores among which their layer's parameter is."""
_TEACHING = frozenset({"Mul", "Xlogy"})
"""What weighs logarithms by probabilities."""
_PLAIN = frozenset({"View", "Transpose", "Permute", "Squeeze", "Unsqueeze", "ToCopy", "Clone", "Neg"})


def moves(node: Node, target: Tensor) -> bool:
    """Whether the targets are computed with gradients, too; not the gradient that is differentiated.

    Where the outputs have none, both were given in the other order.

    Args:
        node: of one of torch's losses.
        target: that it has kept.
    """
    if not target.is_floating_point() or "BackwardBackward" in type(node).__name__:
        return False
    edges = node.next_functions
    return len(edges) > 1 and edges[0][0] is not None and edges[1][0] is not None


def teachers_move(near: Near) -> bool:
    """Whether probabilities, with gradients, weigh the log-probabilities of other scores, and no others.

    So does ``kl_div`` of a teacher that is not detached. Where one layer gives both, as for two views of
    a sample, or each side teaches the other, both should
    move; and where a side weighs its own logarithms, that is an entropy.

    Args:
        near: the nodes next to the loss.
    """
    nodes = near.of(_TEACHING)
    if not nodes:
        return False
    found = list(_taught(nodes))
    pairs = {pair for _, pair in found if None not in pair}
    one_way = [(teacher, student) for teacher, student in pairs if (student, teacher) not in pairs]
    weighing = {node for node, _ in found}
    return any(not is_prior(near.root, weighing, *pair) for pair in one_way)


def target_moves(root: Node, node: Node) -> bool:
    """Whether the targets should not move with the outputs.

    Those should whose prior the outputs are, and two results of one layer, as of two views of a sample;
    not a target that is worked out from another result.

    Args:
        root: the node of the loss.
        node: of one of torch's losses, whose targets move.
    """
    outputs, target = inputs_of(node)[:2]
    if _way(outputs) == _way(target):
        return False
    student, teacher = _scores(outputs, "LogSoftmax"), _scores(target, "Softmax")
    return not is_prior(root, {node}, teacher or _viewed(target), student or _viewed(outputs))


def _taught(nodes: Iterable[Node]) -> Iterator[tuple[Node, tuple[Node, Node]]]:
    """Products of probabilities and logarithms: the scores of the teachers and of their students.

    Those of an entropy have no student, which is None.
    """
    for node in nodes:
        kind = kind_of(node)
        if kind == "Xlogy":  # as kl_div has the teacher's entropy
            yield node, (_scores(inputs_of(node)[0], "Softmax"), None)
        sides = inputs_of(node) if kind == "Mul" else []
        if len(sides) != 2:  # noqa: PLR2004  one of them has no gradients
            continue
        for one, other in (sides, reversed(sides)):
            teacher = _scores(one, "Softmax")
            less = inputs_of(other) if kind_of(other) == "Sub" else []  # its own logarithms, perhaps
            students = [_scores(each, "LogSoftmax") for each in (other, *less)]
            for student in students:
                if None in {teacher, student}:
                    continue
                is_own = _last_weight(teacher) is _last_weight(student)
                yield node, (teacher, None if is_own else student)


def _last_weight(scores: Node) -> Tensor | None:
    """The parameter nearest to some scores: one model that is called twice gives both by one."""
    return next(variables(islice(walk([scores]), _NEAR)), None)


def _way(scores: Node) -> tuple[list[str], int]:
    """What was done to the result of the nearest layer, and its parameter's identity."""
    kinds: list[str] = []
    for node in islice(walk([scores]), _NEAR):
        if (variable := getattr(node, "variable", None)) is not None:
            return kinds, id(variable)
        kinds.append(kind_of(node))
    return kinds, id(scores)


def _scores(node: Node, kind: str) -> Node:
    """What a softmax was taken of, with its views and divisors; None where there is no such softmax."""
    for _ in range(_STEPS):
        if kind_of(node) == kind or node is None:
            break
        node = inputs_of(node)[0] if kind_of(node) in _PLAIN else None
    if node is None or kind_of(node) != kind:
        return None
    return _viewed(inputs_of(node)[0])


def _viewed(scores: Node) -> Node:
    """What was viewed, or divided by a number."""
    while kind_of(scores) in {*_PLAIN, "Div", "Mul"} and len(inputs_of(scores)) == 1:
        scores = inputs_of(scores)[0]
    return scores
