"""Where in a step gradients are clipped, and what is there to be clipped. No judgement."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from pytest_dlcheck.run.probe import ScalarBuffer, number_of
from pytest_dlcheck.run.watch.steps.gradients import Gradients
from pytest_dlcheck.trace import Row, Series

_OF_VALUES = 2
"""Changes in place (count) by which values are clipped: from below, and from above."""
TINY = 1e-6
"""What ``clip_grad_norm_`` adds to a norm before it divides by it."""


class Clips:
    """The clippings of one optimizer's gradients.

    Attributes:
        count: all of them.
    """

    def __init__(self) -> None:
        self.count = self._scaled = self._of_values = 0
        self._is_bounded, self._changes = False, 1
        self._before: Tensor | None = None
        """Their norm, where values are about to be clipped."""
        self._looked = self._after = self._again = 0
        self._norms: list[Tensor] = []
        """Of what no backward was seen to leave: zero, unless it was put there by hand."""
        self._last: tuple[int, int, int, int] | None = None
        self._factors = ScalarBuffer()

    def add(self, step: int, bound: float, norm: Tensor, *, scaled: bool) -> None:
        """One more.

        Args:
            step: which.
            bound: the largest norm that was allowed.
            norm: their norm before, shape ``[]``.
            scaled: whether a gradient scaler's factor is still in them.
        """
        self._count(bound, scaled=scaled, changes=1)
        self._factors.append(step, _factor(bound, number_of(norm)))

    def measure(self, parameters: Sequence[Tensor]) -> None:
        """Values are about to be clipped."""
        self._before = _norm(parameters)

    def values(
        self, step: int, bound: float, parameters: Sequence[Tensor], *, scaled: bool
    ) -> Tensor | None:
        """Values were clipped: their norm before, where it was measured.

        Args:
            step: which.
            bound: the largest value that was allowed.
            parameters: whose gradients.
            scaled: as in :meth:`add`.
        """
        norm, self._before = self._before, None
        if norm is not None:
            self._count(bound, scaled=scaled, changes=_OF_VALUES)
            self._of_values += 1
            self._factors.append(step, number_of(_shrunk(_norm(parameters), norm)))
        return norm

    def _count(self, bound: float, *, scaled: bool, changes: int) -> None:
        self._changes = changes
        self.count += 1
        self._scaled += scaled
        self._is_bounded |= bound < math.inf

    def look(self, step: int, parameters: Sequence[Tensor], gradients: Gradients, norm: Tensor) -> None:
        """See what was there to be clipped, which had this norm."""
        self._looked += 1
        if gradients.backwards:
            passes = gradients.backwards + gradients.dropped
            now = step, passes, id(parameters[0]), len(parameters)
            self._again += now == self._last
            self._last = now
        elif gradients.are_those_applied(self._changes):
            self._after += 1
        else:
            self._norms.append(norm.detach())
        gradients.are_clipped(self._changes)

    def flush(self) -> None:
        """Read back."""
        self._factors.flush()

    def series(self) -> Series:
        """The factors that gradients were scaled by."""
        return self._factors.series()

    def row(self) -> Row:
        """What was seen, in numbers."""
        return Row(
            clips=self.count,
            clips_scaled=self._scaled,
            clips_of_values=self._of_values,
            clips_looked=self._looked,
            clips_before_backward=sum(not norm.item() for norm in self._norms),
            clips_after_step=self._after,
            clips_again=self._again,
            clips_bounded=self._is_bounded,
        )


def _norm(parameters: Sequence[Tensor]) -> Tensor:
    """The norm of all their gradients, shape ``[]``."""
    return get_total_norm([p.grad for p in parameters if p.grad is not None])


def _shrunk(after: Tensor, before: Tensor) -> Tensor:
    """How many times as large a norm is as before: 1 where nothing was there, or was clipped."""
    factor = after / before
    return torch.where((before == 0) | (factor >= 1 - TINY), torch.ones_like(factor), factor)


def _factor(bound: float, norm: Tensor | float) -> Tensor | float:
    """What gradients were scaled by, as ``clip_grad_norm_`` has it."""
    if isinstance(norm, Tensor):
        return (bound / (norm + TINY)).clamp(max=1.0).float()
    factor = bound / (norm + TINY)
    return 1.0 if factor > 1 else factor  # NaN stays what it is
