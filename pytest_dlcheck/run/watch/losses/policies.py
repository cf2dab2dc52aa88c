"""With which sign a policy's loss weighs the log-probabilities of what was chosen. No judgement.

What earned more than was expected is to become likelier: the loss falls with it. Whether numbers are
earned or paid cannot be read from a graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from pytest_dlcheck.run.losses.graphs.advantages import SHAPES
from pytest_dlcheck.run.losses.graphs.entropies import penalised
from pytest_dlcheck.run.losses.graphs.kept import constant_of, kept
from pytest_dlcheck.run.losses.graphs.likelihoods import CHOSEN, follows_likelihood
from pytest_dlcheck.run.losses.graphs.near import Near
from pytest_dlcheck.run.losses.graphs.outputs import result_of
from pytest_dlcheck.run.losses.graphs.signs import below
from pytest_dlcheck.run.losses.graphs.written import Written
from pytest_dlcheck.run.tensors.graph import Node, edges_of, kind_of
from pytest_dlcheck.run.watch.losses.earned import EARNED, PAID, Surprise, earned

NODES = 512
"""Nodes of a loss that are looked at: some add it up step by step."""
FEWEST = 8
"""Actions (count) below which nothing is told, unless their weights are what the loop calls earned."""
DISTINCT = 3
"""Weights (count) that differ, below which any two rows of numbers lie on a line."""
ALIKE = 0.5
"""Correlation from which on weights are what was better than a critic expected; chosen."""
_REGRESSION = frozenset({"MseLoss", "SmoothL1Loss", "HuberLoss", "L1Loss"})
_BOUNDED = frozenset({"Minimum", "Maximum"})
"""A clipped ratio beside itself: the weights of one side are those of both."""
_PARTS = frozenset({"Index", "MaskedSelect", "MaskedFill", "Where", "Slice"})
_REDUCES = _PARTS | _BOUNDED | {"Mean", "Sum", "Neg", "Div", "Add", "Sub", "Rsub", "Stack", "Cat"}
_OPENED = _REDUCES | SHAPES | {"Mul"}
_Place: TypeAlias = tuple[Node, int, Tensor | None]
"""A node, the sign with which it enters the loss, and what weighs its samples there."""


class _Weighed(NamedTuple):
    sign: int
    weights: Tensor
    form: str
    chosen: Node


class Policies:
    """How losses weigh what was chosen, and whom any of them serves.

    What one player's policy seeks, its opponent's avoids.
    """

    def __init__(self) -> None:
        self._sought: set[str] = set()
        """What the loop calls earned, and some loss makes likelier."""

    def weighing(self, near: Near, by_hand: Sequence[Written]) -> dict[str, str]:
        """How a policy's loss weighs what was chosen, in words, by the name of what it does.

        ``unlikelier`` counts actions that become the less likely the more they are worth, where their
        weights are all positive, or follow what a critic in the same loss has underestimated, or what
        may be what was earned, by its name. ``punished`` names what the loop itself calls earned, where
        these do and it has not turned that itself: an opponent's pay is less what the other earned.
        ``rewarded`` names such where the sign is right. ``certain`` is the shape of what the policy is
        made surer of, where its entropy is added to the loss: of samples that merely count more or less,
        it may be (Grandvalet and Bengio 2004).

        Args:
            near: the nodes next to the loss.
            by_hand: what it compares where that is written out.
        """
        found = list(_weighed(near.root)) if kind_of(near.root) in _OPENED else []
        if not found:
            return {}
        weights = torch.cat([each.weights.flatten().double().cpu() for each in found])
        told = self._signed(found, weights, near, by_hand)
        if "punished" in told or not (_are_gains(found, weights) or "rewarded" in told):
            return told
        certain = penalised(near, [each.chosen for each in found])
        return {**told, "certain": certain} if certain else told

    def _signed(
        self, found: Sequence[_Weighed], weights: Tensor, near: Near, by_hand: Sequence[Written]
    ) -> dict[str, str]:
        """With which sign the weights enter."""
        signs = {each.sign for each in found}
        if len(signs) != 1 or 0 in signs:
            return {}
        are_few = len(weights) < FEWEST
        if not (len(set(weights.tolist())) >= DISTINCT if are_few else float(weights.std()) > 0):
            return {}
        sign, surprises = signs.pop(), list(_surprises(near, by_hand))
        known = earned(weights, surprises)
        if known.kind == EARNED and not (known.is_turned and sign * known.way > 0):
            return self._by_name(known.name, len(weights), falls=sign * known.way > 0)
        if are_few or known.kind == PAID:
            return {}
        is_worth = all(each.form == CHOSEN for each in found) and bool((weights >= 0).all())
        ways = {_way(weights, surprise) * sign for surprise in surprises}
        ways |= {sign * int(known.way)} | ({sign} if is_worth and not known.name else set())
        is_sought = known.is_turned and known.name in self._sought
        return {"unlikelier": str(len(weights))} if ways - {0} == {1} and not is_sought else {}

    def _by_name(self, name: str, count: int, *, falls: bool) -> dict[str, str]:
        if not falls:
            self._sought.add(name)
            return {"rewarded": f"{count} by `{name}`"}
        return {} if name in self._sought else {"punished": f"{count} by `{name}`"}


def _are_gains(found: Sequence[_Weighed], weights: Tensor) -> bool:
    """Whether weights are what choices gain: some less than nothing, or log-probabilities were picked.

    What samples count is not negative, and is most often given to a cross-entropy, or leaves some out.
    """
    are_picked = all(each.form == CHOSEN for each in found)
    return bool((weights < 0).any()) or (are_picked and len(weights.unique()) >= DISTINCT)  # type: ignore[no-untyped-call]


def _weighed(root: Node) -> Iterator[_Weighed]:
    """The weights of what follows log-probabilities, and the sign with which these enter a loss."""
    waiting: list[_Place] = [(root, 1, None)]
    for _ in range(NODES):
        if not waiting:
            return
        node, sign, outer = waiting.pop()
        edges = edges_of(node)
        product = kind_of(node) == "Mul" and len(edges) == 1
        factor = constant_of(node) if product else None
        if factor is not None:
            follows, form = follows_likelihood(node.next_functions[edges[0]][0])
            weights = _together(outer, factor)
            if follows:
                known = follows * sign if weights is not None else 0
                chosen = node.next_functions[edges[0]][0]
                yield _Weighed(known, factor if weights is None else weights, form, chosen)
                continue
            if factor.numel() > 1:
                sign, outer = (0, outer) if weights is None else (sign, weights)
        if product or kind_of(node) in _OPENED - {"Mul"}:
            children = [(child, sign * each, outer) for child, each in below(node)]
            children = children[:1] if kind_of(node) in _BOUNDED else children
            waiting += children[::-1]  # the first comes first


def _together(outer: Tensor | None, inner: Tensor) -> Tensor | None:
    """What weighs samples where two products do, one within the other; None where that is not clear."""
    if outer is None:
        return inner
    if inner.numel() == 1:
        return outer * inner
    if outer.numel() == inner.numel():
        return outer.flatten() * inner.flatten()
    return None if bool((outer < 0).any()) else inner


def _surprises(near: Near, by_hand: Sequence[Written]) -> Iterator[Surprise]:
    """What critics are to say, and what they say."""
    for node in near.of(_REGRESSION):
        said, target = kept(node, "self"), near.targets.get(node)
        if said is not None and target is not None:
            yield _surprise(target, said)
    for each in by_hand:
        said = result_of(each.scores) if each.kind == "difference" else None
        if said is not None:
            yield _surprise(each.target, said)


def _surprise(target: Tensor, said: Tensor) -> Surprise:
    return Surprise(target.flatten().double().cpu(), said.flatten().double().cpu())


def _way(weights: Tensor, surprise: Surprise) -> int:
    """Whether weights follow how far something lies above what was said (1), or below it (-1)."""
    if not len(surprise.target) == len(surprise.said) == len(weights):
        return 0
    values = surprise.target - surprise.said
    if not float(values.std()) > 0:
        return 0
    alike = float(torch.corrcoef(torch.stack([weights, values]))[0, 1])
    return (alike > ALIKE) - (alike < -ALIKE)
