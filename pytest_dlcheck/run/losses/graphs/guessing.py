"""What a classifier's loss says beside guessing: how outputs differ from sample to sample, and labels.

Read from the graphs of a few losses, where torch's own have kept scores and labels. No judgement.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from pytest_dlcheck.run.losses.graphs.kept import MEAN, NONE, kept, signed
from pytest_dlcheck.run.losses.graphs.near import OF_CLASSES, Near
from pytest_dlcheck.run.tensors.graph import Node, kind_of
from pytest_dlcheck.trace import Row

SAMPLES = 64
"""Samples of a batch that are compared, evenly taken."""
SCORES = 4096
"""Scores of a sample that are compared, the first ones."""
LABELS = 4096
"""Labels of a batch that are counted, evenly taken."""
LATE = 4
"""Losses looked at by which it is told how a training ends: so many are looked at in a row."""
SAME = 1e-3
"""Standard deviation of a score over the samples (logits, or logarithms of probabilities) up to which
all samples have the same: what it tells of labels is less than a millionth of a nat. Where nothing has
broken, networks on a plateau, of hard problems or random labels, had 0.02 and more."""
TOGETHER = 1 << 16
"""Scores (count) from which on those that wait are measured: a quarter of a megabyte."""
_GUESSING = OF_CLASSES | {"BinaryCrossEntropy", "BinaryCrossEntropyWithLogits"}
_PAIR = 2


@dataclass
class Guess:
    """One loss of classes, or of yes and no.

    Attributes:
        scores: of some samples, ``[samples, scores]``; None once they are measured.
        differ: whether the labels of these samples do.
        labels: how much each label weighs, by its number.
        count: of labels.
        whole: whether the loss is the mean of what is compared here, and nothing besides.
    """

    scores: Tensor | None
    differ: bool
    labels: Counter[int]
    count: int
    whole: bool
    apart: float = math.nan
    """The largest standard deviation of a score over the samples, in nats, once it is measured."""


def guess_of(near: Near, loss: Tensor) -> Guess | None:
    """What is told of a loss that has one such part; None where it has none, or several.

    Args:
        near: the nodes of its graph that are next to it.
        loss: that is propagated.
    """
    found = near.of(_GUESSING)
    if len(found) != 1 or loss.numel() != 1:
        return None
    node = found[0]
    scores, target = kept(node, "self"), near.targets.get(node)
    if scores is None or target is None or scores.dim() == 0 or (count := scores.size(0)) < _PAIR:
        return None
    if _is_weighed_by_others(node, near) or target.shape[:1] != (count,) or not scores.numel():
        return None
    of_classes = kind_of(node) in OF_CLASSES
    if of_classes and (scores.dim() < _PAIR or _numbers_its_samples(scores, target)):
        return None
    some = _some(scores).reshape(min(count, SAMPLES), -1)
    labels, count = _counted(node, target, of_classes=of_classes)
    whole = node is near.root and (not of_classes or _is_plain_mean(node))
    some = some if some.size(1) <= SCORES else some[:, :SCORES]
    return Guess(some.clone(), _differ(_some(target)), labels, count, whole)


def entropy(labels: Counter[int]) -> float:
    """Of a distribution of labels, in nats: the loss of whoever knows how often each comes."""
    return -sum(share * math.log(share) for share in _shares(labels))


def luck(labels: Counter[int]) -> float:
    """How far that loss varies from one label to the next, as a standard deviation in nats."""
    mean = entropy(labels)
    return math.sqrt(sum(share * (math.log(share) + mean) ** 2 for share in _shares(labels)))


def _shares(labels: Counter[int]) -> list[float]:
    total = labels.total()
    return [weight / total for weight in labels.values() if weight > 0] if total else []


def measure(guesses: Iterable[Guess]) -> None:
    """How far scores are apart; those of one shape together, far cheaper than each."""
    waiting = [(guess, guess.scores) for guess in guesses if guess.scores is not None]
    for _, alike in groupby(waiting, lambda each: (each[1].shape, each[1].dtype, each[1].device)):
        several = list(alike)
        spread = torch.stack([scores for _, scores in several]).float().std(1).amax(1)
        for (guess, _), apart in zip(several, spread.tolist(), strict=True):
            guess.apart, guess.scores = apart, None


class Guesses:
    """Those of one optimizer's losses, in order."""

    def __init__(self) -> None:
        self._found: list[tuple[int, Guess]] = []
        self._waiting = 0

    def add(self, found: Guess | None, step: int) -> None:
        """One more, before this step."""
        if found is None:
            return
        self._found.append((step, found))
        self._waiting += 0 if found.scores is None else found.scores.numel()
        if self._waiting >= TOGETHER:
            self._measure()

    def _measure(self) -> None:
        self._waiting = 0
        measure(guess for _, guess in self._found)

    def row(self) -> Row | None:
        """What is told by those whose labels differ; None where they are too few."""
        self._measure()
        found = [(step, guess) for step, guess in self._found if guess.differ]
        found = [(step, guess) for step, guess in found if math.isfinite(guess.apart)]
        if len(found) < _PAIR * LATE:
            return None
        since = len(found)
        while since and found[since - 1][1].apart <= SAME:
            since -= 1
        labels: Counter[int] = Counter()
        for _, guess in found:
            labels.update(guess.labels)
        count = sum(guess.count for _, guess in found)
        apart = [guess.apart for _, guess in found]
        return Row(
            looked=len(found),
            labels=len([label for label in labels.values() if label > 0]),
            counted=count,
            entropy=entropy(labels),
            luck=luck(labels),
            apart=max(apart[-LATE:]),
            apart_before=max(apart[:since], default=0.0),
            same=len(found) - since,
            same_since=found[since][0] if since < len(found) else None,
            whole=all(guess.whole for _, guess in found),
        )


def _some(batch: Tensor) -> Tensor:
    """A few samples, evenly taken."""
    count = batch.size(0)
    return batch if count <= SAMPLES else batch[:: count // SAMPLES][:SAMPLES]


def _differ(rows: Tensor) -> bool:
    """Whether samples have different labels."""
    if rows.numel() == rows.size(0):
        return len(set(rows.reshape(-1).tolist())) > 1
    return bool((rows != rows[:1]).any())


def _is_weighed_by_others(node: Node, near: Near) -> bool:
    """Whether each sample's loss is multiplied by something else, as by what an action has earned.

    A focal loss weighs by what the loss itself is.
    """
    if getattr(node, "_saved_reduction", None) != NONE:
        return False
    is_focal = near.of({"Pow"}) and near.of({"Exp", "Sigmoid"})
    return bool(near.of({"Mul"})) and not is_focal


def _numbers_its_samples(scores: Tensor, target: Tensor) -> bool:
    """Whether each sample is a class of its own, as where its partner is to be found in the batch."""
    flat = target.reshape(-1)
    if flat.numel() > scores.size(1) or flat.numel() != scores.size(0):
        return False
    return torch.equal(flat - flat[0], torch.arange(len(flat), device=flat.device))


def _counted(node: Node, target: Tensor, *, of_classes: bool) -> tuple[Counter[int], int]:
    """How much each label weighs, and how many labels there are; none where that cannot be told."""
    flat = target.reshape(-1)
    flat = flat if flat.numel() <= LABELS else flat[:: flat.numel() // LABELS]
    if not of_classes:
        plain = kept(node, "weight") is None and kept(node, "pos_weight") is None
        alone = target.dim() == 1 or target[0].numel() == 1
        hard = bool(((flat == 0) | (flat == 1)).all())
        if not (plain and alone and hard):
            return Counter(), 0
        ones = int(flat.sum())
        return Counter({0: len(flat) - ones, 1: ones}), len(flat)
    if kept(node, "weight") is not None:
        return Counter(), 0
    labels = Counter(flat.tolist())
    del labels[signed(node._saved_ignore_index)]  # noqa: SLF001  so torch calls what a node keeps
    return labels, labels.total()


def _is_plain_mean(node: Node) -> bool:
    """Whether torch has taken the mean of what each sample costs, as it is."""
    return getattr(node, "_saved_reduction", None) == MEAN and kept(node, "weight") is None
