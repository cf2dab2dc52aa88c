"""Whether numbers of a loss rise or fall with the log-probabilities of what was chosen, in each form.

A distribution's ``log_prob``, scores that are gathered or indexed from a log-softmax, logarithms of
chosen probabilities, cross-entropies of single samples, products with one-hot rows, normal densities,
and ratios of all these to what they were. Read from a loss's graph. No judgement.
"""

from __future__ import annotations

from math import prod

from pytest_dlcheck.run.losses.graphs.advantages import SHAPES
from pytest_dlcheck.run.losses.graphs.cuts import made
from pytest_dlcheck.run.losses.graphs.kept import NONE, constant_of, kept
from pytest_dlcheck.run.losses.graphs.logarithms import logarithms_of
from pytest_dlcheck.run.losses.graphs.outputs import plain
from pytest_dlcheck.run.tensors.graph import Node, edges_of, inputs_of, kind_of

DEEPEST = 24
"""Nodes between a weight and what it weighs: a density has eight."""
CHOSEN, OTHER = "chosen", "other"
"""Log-probabilities that were picked as they are; everything else that is read alike."""
_RISES = SHAPES - {"Neg"} | {
    "Exp",
    "Clamp",
    "ClampMin",
    "ClampMax",
    "ToCopy",
    "Alias",
    "Clone",
    "Expand",
}
_FALLS = frozenset({"Neg", "Rsub"})
_PICKS = frozenset({"Gather", "Index", "Select"})
_ENTROPIES = frozenset({"NllLoss", "NllLoss2D", "BinaryCrossEntropyWithLogits", "BinaryCrossEntropy"})
_SQUARE = 2


def follows_likelihood(side: Node, left: int = DEEPEST) -> tuple[int, str]:
    """Whether a side of a product rises (1) or falls (-1) with such, and which; 0 for anything else.

    Args:
        side: its node.
        left: so many nodes are looked at from here.
    """
    kind, edges = kind_of(side), edges_of(side)
    if not left or not edges:
        return 0, ""
    if (found := _end(side, kind, edges))[0]:
        return found
    below = [side.next_functions[index][0] for index in edges]
    if kind in {"Stack", "Cat"}:
        each = {follows_likelihood(_summed(child), left - 1) for child in below}
        return each.pop() if len(each) == 1 else (0, "")
    turns = kind in _FALLS or (kind == "Sub" and edges == [1])
    if not turns and not (kind in _RISES or _shifts(side, kind, edges) or _sums_up(side, kind)):
        return 0, ""
    sign, form = follows_likelihood(below[0], left - 1)
    return (-sign if turns else sign), OTHER if kind == "Exp" else form


def _summed(node: Node) -> Node:
    """What one number of several adds up: the actions of an episode, where it is that."""
    is_number = kind_of(node) in {"Sum", "Mean"} and edges_of(node) == [0]
    return inputs_of(node)[0] if is_number else node


def _shifts(node: Node, kind: str, edges: list[int]) -> bool:
    """Whether it adds what is known, or divides by it; or a density's own deviation."""
    if kind in {"Add", "Sub"}:
        scale = plain(node.next_functions[1][0]) if edges == [0, 1] else None
        return len(edges) == 1 or kind_of(scale) == "Log" or _is_raw(scale)
    if kind != "Div" or edges[0] != 0:
        return False
    return len(edges) > 1 or _is_positive(node)


def _is_raw(node: Node) -> bool:
    """Whether it is a parameter itself, such as the logarithm of a deviation."""
    while kind_of(node) in {"Expand", "Unsqueeze", "View"}:
        node = inputs_of(node)[0]
    return getattr(node, "variable", None) is not None


def _is_positive(node: Node) -> bool:
    divisor = kept(node, "other")
    return divisor is not None and bool((divisor > 0).all())


def _sums_up(node: Node, kind: str) -> bool:
    """Whether it adds the parts of an action up, for each of several."""
    return kind == "Sum" and prod(made(node)) > 1


def _end(node: Node, kind: str, edges: list[int]) -> tuple[int, str]:
    """The same where nothing further has to be looked at."""
    if _is_picked(node, kind, edges):
        return 1, CHOSEN
    if _is_cross_entropy(node, kind, edges):
        return -1, OTHER
    inner = plain(node.next_functions[edges[0]][0])
    if kind == "Sum" and _is_of_one_hot(inner):
        return 1, OTHER
    if kind == "Sub" and edges == [0, 1]:
        is_log = kind_of(plain(node.next_functions[1][0])) == "Logsumexp"
        return (1, OTHER) if is_log and kind_of(_unclamped(inner)) in _PICKS else (0, "")
    return (1, OTHER) if kind == "Neg" and _is_square_of_a_distance(inner) else (0, "")


def _is_picked(node: Node, kind: str, edges: list[int]) -> bool:
    """Whether it picks log-probabilities, or is the logarithm of probabilities that were picked."""
    inner = node.next_functions[edges[0]][0]
    if kind in _PICKS:
        is_whole = kind == "Select" and made(node) != []
        return edges == [0] and not is_whole and logarithms_of(inner) is not None
    picked: Node = _unclamped(inner) if kind == "Log" else None
    if kind_of(picked) not in _PICKS or edges_of(picked) != [0]:
        return False
    return kind_of(plain(picked.next_functions[0][0])) == "Softmax"


def _is_cross_entropy(node: Node, kind: str, edges: list[int]) -> bool:
    """Whether it is a cross-entropy of each sample by itself, without weights of classes."""
    target = kept(node, "target") if kind in _ENTROPIES and edges == [0] else None
    if target is None or kept(node, "weight") is not None:
        return False
    return target.numel() == 1 or getattr(node, "_saved_reduction", None) == NONE


def _is_square_of_a_distance(node: Node) -> bool:
    """Whether it squares how far something lies from what is known, as a normal density does."""
    if kind_of(node) != "Pow" or getattr(node, "_saved_exponent", 0) != _SQUARE:
        return False
    away = inputs_of(node)[0]
    return kind_of(away) in {"Sub", "Rsub"} and len(edges_of(away)) == 1


def _unclamped(node: Node) -> Node:
    """What a logarithm is taken of, kept from zero or not."""
    inner = plain(node)
    if kind_of(inner) in {"Add", "Clamp", "ClampMin"} and edges_of(inner) == [0]:
        inner = plain(inner.next_functions[0][0])
    while kind_of(inner) in SHAPES - {"Neg", "Select"} and len(edges_of(inner)) == 1:
        inner = inputs_of(inner)[0]
    return inner


def _is_of_one_hot(node: Node) -> bool:
    """Whether log-probabilities are multiplied by rows of zeros and a one."""
    factor = constant_of(node) if kind_of(node) == "Mul" else None
    if factor is None or factor.dim() <= 1 or logarithms_of(inputs_of(node)[0]) is None:
        return False
    return bool(((factor == 0) | (factor == 1)).all() and (factor.sum(-1) == 1).all())
