"""A divergence from a standard normal that is summed, beside a reconstruction that is averaged.

The divergence of a Gaussian posterior leaves squares of its means, its variances and their logarithms,
with factors of one half where nobody has weighed it. Read from the graph of a loss. No judgement.
"""

from __future__ import annotations

import math

from torch import Tensor

from pytest_dlcheck.run.losses.graphs.kept import MEAN, kept
from pytest_dlcheck.run.losses.graphs.outputs import RESHAPES
from pytest_dlcheck.run.losses.graphs.sums import Edge, added_by, factor_of, is_square
from pytest_dlcheck.run.losses.graphs.written import written
from pytest_dlcheck.run.tensors.graph import Node, edges_of, kind_of
from pytest_dlcheck.trace import Row

_TWO = 2
_HALF = 0.5
NODES = 48
"""Nodes of a divergence; one of torch's distributions has about twenty."""
_CHANCES = frozenset({"BinaryCrossEntropy", "BinaryCrossEntropyWithLogits"})
_TORCHS = _CHANCES | {"MseLoss", "L1Loss"}
_FIXED: dict[tuple[int, ...], str] = {(0,): "target", (1,): "self"}
"""What a loss is given that needs no gradient, by its inputs that do."""


def outweighing(loss: Tensor) -> list[Row]:
    """A row where a loss is made of these two, and nothing else, without a weight for either.

    Its ``cost`` is what one nat of a sample's latent numbers adds to the loss, over the most that it can
    take from the reconstruction (ratio): a square loss falls by twice the variance of the targets at
    first, an absolute one by their deviation, a binary cross-entropy by no more than that nat.

    Args:
        loss: with its graph whole.
    """
    node = _inner(loss.grad_fn, RESHAPES)
    while kind_of(node) in {"Mul", "Div"} and factor_of(node) is not None:
        node = _inner(node.next_functions[edges_of(node)[0]][0], RESHAPES)
    if loss.numel() != 1 or kind_of(node) != "Add" or edges_of(node) != [0, 1]:
        return []
    if getattr(node, "_saved_alpha", 1) != 1:
        return []
    terms = node.next_functions
    for (restoring, _), diverging in (terms, terms[::-1]):
        means = _means(diverging)
        known = None if means is None else _restored(restoring)
        if means is None or known is None:
            continue
        target, gain = known
        samples = len(target) if target.dim() >= _TWO else 0
        if samples >= _TWO and means.dim() >= _TWO and len(means) == samples and gain > 0:
            return [_row(samples, means, target, samples / gain)]
    return []


def _row(samples: int, means: Tensor, target: Tensor, cost: float) -> Row:
    return Row(
        part="terms",
        kind="posterior",
        samples=samples,
        latents=means.numel() // samples,
        numbers=target.numel(),
        cost=cost,
    )


# -- the reconstruction ------------------------------------------------------------------------


def _restored(node: Node) -> tuple[Tensor, float] | None:
    """The targets of a reconstruction that is a plain mean, and the most it falls by for a nat."""
    node, scale = _inner(node, RESHAPES), 1.0
    if kind_of(node) == "Mul" and factor_of(node) == _HALF:
        node, scale = _inner(node.next_functions[edges_of(node)[0]][0], RESHAPES), _HALF
    kind = kind_of(node)
    if kind in _TORCHS:
        weighs = any(kept(node, name) is not None for name in ("weight", "pos_weight"))
        target = kept(node, _FIXED.get(tuple(edges_of(node)), ""))
        is_mean = getattr(node, "_saved_reduction", None) == MEAN and not weighs
        return (target, scale * _gain(kind, target)) if target is not None and is_mean else None
    compared = written(node) if kind == "Mean" else []
    if len(compared) != 1 or compared[0].kind != "difference":
        return None
    if _inner(node, RESHAPES | {"Mean"}) is not compared[0].node:
        return None
    kind = "L1Loss" if kind_of(compared[0].node) == "Abs" else "MseLoss"
    return compared[0].target, scale * _gain(kind, compared[0].target)


def _gain(kind: str, target: Tensor) -> float:
    if kind in _CHANCES:
        return 1.0
    off = target.double() - target.double().mean(0)
    return float(off.abs().mean() if kind == "L1Loss" else 2 * off.square().mean())


# -- the divergence ----------------------------------------------------------------------------


def _means(root: Edge) -> Tensor | None:
    """The means of the posterior where a term is its whole divergence from a standard normal, summed."""
    parts = _parts(root)
    if parts is None or len(parts) != 3:  # noqa: PLR2004  means, variances, logarithms
        return None
    for edge, share in parts.items():
        rest = {other: part for other, part in parts.items() if other != edge}
        if math.isclose(share, _HALF) and is_square(edge[0]) and _is_of_variances(rest):
            made_of = edge[0].next_functions[0][0]
            return None if hasattr(made_of, "variable") else kept(edge[0], "self")
    return None


def _is_of_variances(parts: dict[Edge, float]) -> bool:
    """Whether it is half of variances less half of their logarithms."""
    for edge, share in parts.items():
        (logarithm, part), *_ = ((e, p) for e, p in parts.items() if e != edge)
        if math.isclose(share, _HALF) and math.isclose(part, -_times(edge, logarithm) / 2):
            return True
    return False


def _times(variance: Edge, logarithm: Edge) -> float:
    """How often a logarithm is in that of a variance; NaN where it is another's."""
    node = variance[0]
    if kind_of(node) == "Exp":
        return (_parts(node.next_functions[0], summed=True) or {}).get(logarithm, math.nan)
    if is_square(node) and kind_of(logarithm[0]) == "Log":
        of, deviation = logarithm[0].next_functions[0], node.next_functions[0]
        is_squared = is_square(of[0]) and of[0].next_functions[0] == deviation
        return 1.0 if is_squared else 2.0 if of == deviation else math.nan
    return math.nan


def _parts(root: Edge, *, summed: bool = False) -> dict[Edge, float] | None:
    """What a sum is made of, and how often; None where a part is not summed, or weighed by one.

    Args:
        root: its edge.
        summed: whether it lies within a sum.
    """
    found: dict[Edge, float] = {}
    waiting = [(root, 1.0, summed)]
    for _ in range(NODES):
        if not waiting:
            return found
        edge, share, within = waiting.pop()
        below = added_by(edge[0])
        if below is None and not within:
            return None
        if below is None:
            found[edge] = found.get(edge, 0.0) + share
            continue
        within = within or kind_of(edge[0]) == "Sum"
        for index, times in below:
            if kind_of(edge[0]) in {"Mul", "Div"} and times == 1:
                return None  # somebody's weight, that is just 1
            waiting.append((edge[0].next_functions[index], share * times, within))
    return None


def _inner(node: Node, kinds: frozenset[str]) -> Node:
    """The first node that is of another kind, where each of these has one input."""
    while kind_of(node) in kinds and edges_of(node) == [0]:
        node = node.next_functions[0][0]
    return node
