"""With which sign a policy's loss weighs the log-probabilities of what was chosen. No judgement.

What earned more than was expected is to become likelier: the loss falls with it. Whether numbers are
earned or paid cannot be read from a graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from pytest_dlcheck.run.graph import Node, edges_of, inputs_of, kind_of
from pytest_dlcheck.run.watch.losses.advantages import SHAPES, chosen
from pytest_dlcheck.run.watch.losses.earned import earned
from pytest_dlcheck.run.watch.losses.kept import kept
from pytest_dlcheck.run.watch.losses.near import Near
from pytest_dlcheck.run.watch.losses.outputs import result_of
from pytest_dlcheck.run.watch.losses.signs import below
from pytest_dlcheck.run.watch.losses.written import Written

NODES = 512
"""Nodes of a loss that are looked at: some add it up step by step."""
FEWEST = 8
"""Actions (count) below which nothing is told."""
ALIKE = 0.5
"""Correlation from which on weights are what was better than a critic expected; chosen."""
_REGRESSION = frozenset({"MseLoss", "SmoothL1Loss", "HuberLoss", "L1Loss"})
_REDUCES = SHAPES | {"Mean", "Sum", "Neg", "Div", "Add", "Sub", "Rsub", "Stack", "Cat"}
_OPENED = _REDUCES | {"Mul"}


def weighing(near: Near, by_hand: Sequence[Written]) -> dict[str, str]:
    """How a policy's loss weighs what was chosen: ``unlikelier`` or ``punished``, in words.

    The first counts actions that become the less likely the more they are worth, where their weights are
    all positive, or follow what a critic in the same loss has underestimated. The second names what the
    loop itself calls earned, where these do.

    Args:
        near: the nodes next to the loss.
        by_hand: what it compares where that is written out.
    """
    if kind_of(near.root) not in _OPENED:
        return {}
    found = list(_weighed(near.root))
    signs = {sign for sign, _ in found}
    if len(signs) != 1 or 0 in signs:
        return {}
    weights = torch.cat([weight.flatten().double().cpu() for _, weight in found])
    if len(weights) < FEWEST or not float(weights.std()) > 0:
        return {}
    sign, (name, follows) = signs.pop(), earned(weights)
    if name:
        return {"punished": f"{len(weights)} by `{name}`"} if sign * follows > 0 else {}
    is_worth = bool((weights >= 0).all()) or any(
        _follows(weights, surprise) for surprise in _surprises(near, by_hand)
    )
    return {"unlikelier": str(len(weights))} if sign > 0 and is_worth else {}


def _weighed(root: Node) -> Iterator[tuple[int, Tensor]]:
    """The weights of chosen logarithms, and the sign with which their products enter a loss."""
    waiting: list[tuple[Node, int]] = [(root, 1)]
    for _ in range(NODES):
        if not waiting:
            return
        node, sign = waiting.pop()
        edges = edges_of(node)
        if kind_of(node) == "Mul" and len(edges) == 1:
            side = node.next_functions[edges[0]][0]
            factor = kept(node, "self" if edges == [1] else "other")
            if factor is not None and chosen(side):
                yield sign * _sign_of(side), factor
                continue
            if factor is not None and factor.numel() > 1 and bool((factor < 0).any()):
                sign = 0  # some terms are turned, others not
        if kind_of(node) in _REDUCES or (kind_of(node) == "Mul" and len(edges) == 1):
            waiting += [(child, sign * each) for child, each in below(node)][
                ::-1
            ]  # the first comes first


def _sign_of(side: Node) -> int:
    """The sign that logarithms get on their way to a product; 0 where they do not all get the same."""
    if kind_of(side) not in SHAPES:
        return 1
    signs = {_sign_of(child) for child in inputs_of(side)}
    if len(signs) != 1:
        return 0
    return -signs.pop() if kind_of(side) == "Neg" else signs.pop()


def _surprises(near: Near, by_hand: Sequence[Written]) -> Iterator[Tensor]:
    """How far what critics are to say lies above what they say."""
    for node in near.of(_REGRESSION):
        said, target = kept(node, "self"), near.targets.get(node)
        if said is not None and target is not None:
            yield target - said
    for each in by_hand:
        said = result_of(each.scores) if each.kind == "difference" else None
        if said is not None:
            yield each.target.flatten() - said.flatten()


def _follows(weights: Tensor, surprise: Tensor) -> bool:
    values = surprise.flatten().double().cpu()
    if len(values) != len(weights) or not float(values.std()) > 0:
        return False
    return float(torch.corrcoef(torch.stack([weights, values]))[0, 1]) > ALIKE
