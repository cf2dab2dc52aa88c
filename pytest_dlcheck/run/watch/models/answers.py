"""Which classes an evaluated model answers where loaders give labels. Counts, no judgement."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any, cast

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.watch.batches.new_classes import labels_of
from pytest_dlcheck.run.watch.guard import Guard
from pytest_dlcheck.run.watch.models.steered import Steered
from pytest_dlcheck.run.watch.models.steered_maps import SteeredMaps
from pytest_dlcheck.run.watch.taps.once import Once
from pytest_dlcheck.trace import Row

CALLS = 64
"""Calls of an evaluation (count) whose answers are held against labels."""
LATEST = 4
"""Training batches (count) by which it is known how well known data is answered: the last ones."""
CLASSES = 1024
"""Classes up to which answers are counted."""
_SCORES = 2


class Answers:
    """The answers of the last evaluation, and of the last training batches that were looked at.

    Args:
        guard: stands before what models call.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._labels: Tensor | None = None
        self._at = -1
        self._calls = 0
        self._found: Counter[tuple[int, int]] = Counter()
        self._known: deque[tuple[int, int]] = deque(maxlen=LATEST)
        self._steered, self.maps = Steered(guard), SteeredMaps(guard)

    def batch_is_read(self, batch: Any) -> None:
        """A loader's iterator has given a batch."""
        self._labels = None if torch.is_grad_enabled() else labels_of(batch)

    def evaluated(self, module: nn.Module, steps: int) -> None:
        """A trained model is called, without gradients, on what was read, after so many steps."""
        labels, self._labels = self._labels, None
        if labels is None:
            return
        if steps != self._at:
            self._at, self._calls = steps, 0
            self._found.clear()
        self._calls += 1
        if self._calls <= CALLS:
            Once(module, self._guard(lambda output: self._add(output, labels.reshape(-1))))

    def trained(self, output: object, labels: Tensor) -> None:
        """A model is trained on a batch with these labels, and has given this."""
        labels = labels.reshape(-1)
        answers = answers_of(output, labels)
        if answers is not None:
            self._known.append((int((answers == labels).sum()), len(labels)))
            self._steered.follow(cast("Tensor", output), labels)

    def facts(self) -> dict[str, tuple[Row, ...]]:
        """All that was seen, by the names of facts of a trace."""
        steered = {"steered": (self.steered(),), "steered_maps": (self.maps.row(),)}
        return {"answers": self.rows(), "confusion": self.confusion(), **steered}

    def rows(self) -> tuple[Row, ...]:
        """How many were right, of validation and of training data; none where either is not known."""
        if not self._found or not self._known:
            return ()
        given: Counter[int] = Counter()
        for (true, _), count in self._found.items():
            given[true] += count
        total = given.total()
        correct, classified = (sum(each) for each in zip(*self._known, strict=True))
        chance = max(given.values()) / total
        return (
            Row(data="val", mode="eval", classified=total, correct=self._right(), chance=chance),
            Row(data="train", mode="eval", classified=classified, correct=correct, chance=chance),
        )

    def steered(self) -> Row:
        """Where losses steer the scores of right classes, and how many answers are right in the end."""
        steered = self._steered
        return Row(
            looked=steered.calls,
            samples=steered.count,
            down=steered.down,
            classes=steered.classes,
            right=self._right(),
            answered=self._found.total(),
            right_trained=sum(right for right, _ in self._known),
            answered_trained=sum(count for _, count in self._known),
        )

    def confusion(self) -> tuple[Row, ...]:
        """How often each class was answered for each."""
        found = self._found.items()
        return tuple(Row(true=true, predicted=answer, count=count) for (true, answer), count in found)

    def _right(self) -> int:
        return sum(count for (true, answer), count in self._found.items() if true == answer)

    def _add(self, output: object, labels: Tensor) -> None:
        answers = answers_of(output, labels)
        if answers is not None:
            self._found.update(zip(labels.tolist(), answers.tolist(), strict=True))


def answers_of(output: object, labels: Tensor) -> Tensor | None:
    """The class of the greatest score of each sample; None where an output is no scores of classes.

    Args:
        output: shape ``[samples, classes]``.
        labels: shape ``[samples]``.
    """
    if not isinstance(output, Tensor) or output.dim() != _SCORES or len(output) != len(labels):
        return None
    classes = output.size(1)
    if not (1 < classes <= CLASSES and output.is_floating_point() and len(labels)):
        return None
    least, most = labels.aminmax()
    return output.detach().argmax(1).cpu() if int(least) >= 0 and int(most) < classes else None
