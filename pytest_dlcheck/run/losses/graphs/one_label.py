"""Losses of classes whose labels are all one, and the layer that makes their scores. No judgement.

A row of ones or zeros is what a generator wants of its opponent, and what each sample's own place is in
contrastive learning: there the scores are another model's layer, or no layer's at all. So the layer is
told, by its parameters.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from pytest_dlcheck.run.losses.graphs.kept import kept, signed
from pytest_dlcheck.run.losses.graphs.outputs import RESHAPES
from pytest_dlcheck.run.tensors.graph import Node, inputs_of, kind_of, variables
from pytest_dlcheck.trace import Row

LAYERS = frozenset({"Addmm", "Mm", "Bmm", "Convolution"})
"""What multiplies by a layer's weights, where these are parameters."""
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
_DEEPEST = 8
_TABLE = 2


@dataclass(frozen=True)
class Only:
    """What a loss of classes was given.

    Attributes:
        classes: how many it knows; 1 for yes and no.
        label: the class, or the probability of yes, of all samples; None where they differ.
        count: of labels.
        head: the parameters (``id``) of the layer that makes the scores; none where no layer does.
    """

    classes: int
    label: float | None
    count: int
    head: frozenset[int]


def only_of(node: Node, target: Tensor, *, of_classes: bool) -> Only | None:
    """What one of torch's losses was given; None where it ignores everything.

    Args:
        node: of the loss.
        target: classes, or probabilities of yes.
        of_classes: which of the two.
    """
    if of_classes:
        target = target[target != signed(node._saved_ignore_index)]  # noqa: SLF001  so torch calls it
    if not target.numel():
        return None
    low, high = (float(end) for end in target.aminmax())
    scores = kept(node, "self") if of_classes else None
    classes = scores.size(1) if scores is not None and scores.dim() >= _TABLE else 1
    if low != high:
        return Only(classes, None, target.numel(), frozenset())
    return Only(classes, low, target.numel(), head_of(node.next_functions[0][0]))


def head_of(scores: Node) -> frozenset[int]:
    """The parameters (``id``) of the layer that makes some scores; none where no layer does.

    Args:
        scores: the node that they come from.
    """
    for _ in range(_DEEPEST):
        if kind_of(scores) in LAYERS:
            near = inputs_of(scores)
            turned = [below for node in near if kind_of(node) in _TURNS for below in inputs_of(node)]
            return frozenset(map(id, variables([*near, *turned])))
        if kind_of(scores) not in _ON_THE_WAY or not inputs_of(scores):
            break
        scores = inputs_of(scores)[0]
    return frozenset()


class OneLabel:
    """What one optimizer's losses were given, by the number of classes."""

    def __init__(self) -> None:
        self.labels: dict[int, Counter[float | None]] = defaultdict(Counter)
        self._losses: Counter[int] = Counter()
        self._heads: dict[int, set[int]] = defaultdict(set)

    def add(self, found: Only | None) -> None:
        """One more loss."""
        if found is not None:
            self.labels[found.classes][found.label] += found.count
            self._losses[found.classes] += 1
            self._heads[found.classes].update(found.head)

    def rows(self, everywhere: Sequence[OneLabel], keys: set[int]) -> tuple[Row, ...]:
        """What is told of losses that all want the same, whoever's they are; none where some differ.

        Args:
            everywhere: those of all optimizers.
            keys: the parameters (``id``) that this one steps.
        """
        found = []
        for classes, losses in self._losses.items():
            labels = set().union(*(each.labels.get(classes, ()) for each in everywhere))
            if len(labels) == 1 and (label := labels.pop()) is not None:
                count = self.labels[classes][label]
                steps_its_layer = not keys.isdisjoint(self._heads[classes])
                found.append(
                    Row(classes=classes, label=label, labels=count, losses=losses, own=steps_its_layer)
                )
        return tuple(found)
