"""Where a loss steers the scores of the right classes: up, or down. Counts, no judgement.

Read from the gradient of a model's scores, whatever the loss is written as.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from pytest_dlcheck.run.watch.guard import Guard

CALLS = 64
"""Batches (count) whose gradients are looked at: the first ones of those whose losses are."""


class Steered:
    """Samples whose right class loses by a step, among those whose scores have a gradient.

    Args:
        guard: stands before what a backward calls.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self.calls = self.down = self.count = self.classes = 0

    def follow(self, scores: Tensor, labels: Tensor) -> None:
        """A model has given these for samples of these classes, and is trained on them.

        Args:
            scores: shape ``[samples, classes]``.
            labels: shape ``[samples]``.
        """
        if not scores.requires_grad or self.calls >= CALLS:
            return
        self.calls += 1
        self.classes = max(self.classes, scores.size(1))
        scores.register_hook(self._guard(self._adding(labels)))  # type: ignore[no-untyped-call]

    def _adding(self, labels: Tensor) -> Callable[[Tensor], None]:
        def add(gradient: Tensor) -> None:
            own = gradient.detach().gather(1, labels.to(gradient.device)[:, None])
            self.down += int((own > 0).sum())
            self.count += int((own != 0).sum())

        return add
