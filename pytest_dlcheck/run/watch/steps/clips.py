"""Where in a step gradients are clipped, and what is there to be clipped. No judgement."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from pytest_dlcheck.run.probe import ScalarBuffer, number_of
from pytest_dlcheck.run.watch.steps.gradients import Gradients
from pytest_dlcheck.trace import Row, Series


class Clips:
    """The clippings of one optimizer's gradients.

    Attributes:
        count: all of them.
    """

    def __init__(self) -> None:
        self.count = self._scaled = 0
        self._is_bounded = False
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
        self.count += 1
        self._scaled += scaled
        self._is_bounded |= bound < math.inf
        self._factors.append(step, _factor(bound, number_of(norm)))

    def look(self, step: int, parameters: Sequence[Tensor], gradients: Gradients, norm: Tensor) -> None:
        """See what was there to be clipped, which had this norm."""
        self._looked += 1
        if gradients.backwards:
            passes = gradients.backwards + gradients.dropped
            now = step, passes, id(parameters[0]), len(parameters)
            self._again += now == self._last
            self._last = now
        elif gradients.are_those_applied():
            self._after += 1
        else:
            self._norms.append(norm.detach())
        gradients.are_clipped()

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
            clips_looked=self._looked,
            clips_before_backward=sum(not norm.item() for norm in self._norms),
            clips_after_step=self._after,
            clips_again=self._again,
            clips_bounded=self._is_bounded,
        )


def _factor(bound: float, norm: Tensor | float) -> Tensor | float:
    """What gradients were scaled by, as ``clip_grad_norm_`` has it."""
    if isinstance(norm, Tensor):
        return (bound / (norm + 1e-6)).clamp(max=1.0).float()
    factor = bound / (norm + 1e-6)
    return 1.0 if factor > 1 else factor  # NaN stays what it is
