"""Losses of classes whose labels are all one, and the layer that makes their scores. No judgement.

A row of ones or zeros is what a generator wants of its opponent, and what each sample's own place is in
contrastive learning: there the scores are another model's layer, or no layer's at all. So the layer is
told, by its parameters.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from torch import Tensor

from pytest_dlcheck.run.losses.graphs.cuts import made
from pytest_dlcheck.run.losses.graphs.kept import kept, signed
from pytest_dlcheck.run.losses.graphs.near import OF_CLASSES, Near
from pytest_dlcheck.run.losses.graphs.outputs import RESHAPES
from pytest_dlcheck.run.tensors.graph import Node, inputs_of, kind_of, variables
from pytest_dlcheck.trace import Row

LAYERS = frozenset({"Addmm", "Mm", "Bmm", "Convolution"})
"""What multiplies by a layer's weights, where these are parameters."""
_WITHOUT_BIAS = frozenset({"Mm", "Bmm"})
"""Those of them that add nothing."""
_TURNS = frozenset({"T", "Transpose", "Permute", "Expand"})
_ON_THE_WAY = (
    RESHAPES
    | _TURNS
    | {
        *("LogSoftmax", "Softmax", "Sigmoid", "LogSigmoid", "Log", "Clamp", "ClampMin"),
        *("Add", "Div", "Select", "Slice"),
    }
)
"""What may lie between a layer and a loss."""
OF_LABELS = OF_CLASSES | {"BinaryCrossEntropy", "BinaryCrossEntropyWithLogits"}
"""The losses of torch that are given classes, or probabilities of yes."""
_DEEPEST = 8
_TABLE = 2


@dataclass(frozen=True)
class Only:
    """What a loss of classes was given.

    Attributes:
        classes: how many it knows; 1 for yes and no.
        label: the class, or the probability of yes, of all samples; None where they differ.
        rows: of the batch.
        count: of labels, one a row or more.
        head: the parameters (``id``) of the layer that makes the scores; none where no layer does.
    """

    classes: int
    label: float | None
    rows: int
    count: int
    head: frozenset[int] = frozenset()


def labels_of(near: Near) -> tuple[Only, ...]:
    """What each of torch's losses of classes near the root was given, those that ignore all left out."""
    found = (_labels_of(node, near.targets[node]) for node in near.of(OF_LABELS) if node in near.targets)
    return tuple(each for each in found if each is not None)


def _labels_of(node: Node, target: Tensor) -> Only | None:
    rows, of_classes = len(target) if target.dim() else 1, kind_of(node) in OF_CLASSES
    if of_classes:
        target = target[target != signed(node._saved_ignore_index)]  # noqa: SLF001  so torch calls it
    if not target.numel():
        return None
    low, high = (float(end) for end in target.aminmax())
    scores = kept(node, "self") if of_classes else None
    classes = scores.size(1) if scores is not None and scores.dim() >= _TABLE else 1
    if low != high:
        return Only(classes, None, rows, target.numel())
    return Only(classes, low, rows, target.numel(), head_of(node.next_functions[0][0], classes))


def head_of(scores: Node, classes: int) -> frozenset[int]:
    """The parameters (``id``) of the layer that makes some scores; none where no layer does.

    Nor where it gives one number for each of several candidates, whose place it does not know, nor where
    it has no bias and is given differences, of which one way round is the negative of the other.

    Args:
        scores: the node that they come from.
        classes: how many there are; 1 of yes and no.
    """
    for _ in range(_DEEPEST):
        if kind_of(scores) in LAYERS:
            near, sizes = inputs_of(scores), made(scores)
            if (classes > 1 and sizes and classes not in sizes) or _is_odd(scores, near):
                break
            turned = [below for node in near if kind_of(node) in _TURNS for below in inputs_of(node)]
            return frozenset(map(id, variables([*near, *turned])))
        if kind_of(scores) not in _ON_THE_WAY or not inputs_of(scores):
            break
        scores = inputs_of(scores)[0]
    return frozenset()


def _is_odd(layer: Node, given: list[Node]) -> bool:
    """Whether it has no bias, and is given a difference."""
    return kind_of(layer) in _WITHOUT_BIAS and any(kind_of(each) == "Sub" for each in given)


class OneLabel:
    """What one optimizer's losses were given, by the number of classes."""

    def __init__(self) -> None:
        self.labels: dict[int, set[float | None]] = defaultdict(set)
        self._found: dict[int, list[Only]] = defaultdict(list)
        self._are_whole = self._are_alone = True

    def add(self, found: Collection[Only], *, whole: bool, joined: bool) -> None:
        """One more loss.

        Args:
            found: what its parts were given.
            whole: whether it is the mean of what one of them costs, and nothing besides.
            joined: whether it is a sum of several terms, of which one may well want the same of all.
        """
        self._are_whole &= whole
        self._are_alone &= len(found) == 1 and not joined
        for each in found:
            self.labels[each.classes].add(each.label)
            self._found[each.classes].append(each)

    def rows(self, everywhere: Sequence[OneLabel], keys: set[int]) -> tuple[Row, ...]:
        """What is told of losses that all want the same, whoever's they are; none where some differ.

        Args:
            everywhere: those of all optimizers.
            keys: the parameters (``id``) that this one steps.
        """
        if not self._are_alone or len(self._found) != 1:
            return ()
        ((classes, found),) = self._found.items()
        labels = set().union(*(each.labels.get(classes, ()) for each in everywhere))
        if len(labels) > 1 or (label := labels.pop()) is None:
            return ()
        row = Row(
            classes=classes,
            label=label,
            losses=len(found),
            rows=sum(each.rows for each in found),
            rows_each=min(each.rows for each in found),
            labels_each=max(each.count for each in found),
            whole=self._are_whole,
            own=any(not keys.isdisjoint(each.head) for each in found),
        )
        return (row,)
