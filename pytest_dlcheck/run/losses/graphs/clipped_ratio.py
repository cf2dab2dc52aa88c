"""Which bound of a clipped ratio a loss minimises: the pessimistic one, or the other. No judgement.

Proximal policy optimization (Schulman et al. 2017, equation 7) maximises the lesser of ``ratio * a``
and ``clamp(ratio) * a``: what clipping cuts off is a gain, never a loss. A loss is minus that, or the
greater of both with ``-a`` in place of ``a``. Whatever the sign of ``a``, the lesser minimised, or the
greater maximised, is never meant: nothing holds the ratio back then.
"""

from __future__ import annotations

from pytest_dlcheck.run.losses.graphs.near import Near
from pytest_dlcheck.run.losses.graphs.signs import entering
from pytest_dlcheck.run.tensors.graph import Node, inputs_of, kind_of

_BOUNDS = {"Minimum": 1, "Maximum": -1}
"""With which sign in the loss each keeps the better of both."""
_RATIO = frozenset({"Exp", "Div"})
"""How a ratio of probabilities is made."""


def optimistic(near: Near) -> str:
    """What a loss does with such a pair, in words, where it keeps the better of both; else empty.

    Args:
        near: the nodes next to the loss.
    """
    pairs = [node for node in near.of(_BOUNDS.keys()) if _is_clipped_beside_itself(node)]
    if not pairs:
        return ""
    signs = _signs(near, set(pairs))
    if not all(signs[node] == {_BOUNDS[kind_of(node)]} for node in pairs):
        return ""
    return "the lesser is minimised" if kind_of(pairs[0]) == "Minimum" else "the greater is maximised"


def _is_clipped_beside_itself(node: Node) -> bool:
    """Whether it compares products of one ratio, once as it is and once clamped."""
    products = [each for each in inputs_of(node) if kind_of(each) == "Mul"]
    if len(products) != 2:  # noqa: PLR2004  both sides
        return False
    ours, theirs = (set(inputs_of(each)) for each in products)
    return any(
        kind_of(clamp) == "Clamp" and any(kind_of(r) in _RATIO and r in others for r in inputs_of(clamp))
        for these, others in ((ours, theirs), (theirs, ours))
        for clamp in these
    )


def _signs(near: Near, wanted: set[Node]) -> dict[Node, set[int]]:
    """With which signs nodes enter a loss."""
    found: dict[Node, set[int]] = {node: set() for node in wanted}
    for node, sign in entering(near.root, near.nodes):
        if node in wanted:
            found[node].add(sign)
    return found
