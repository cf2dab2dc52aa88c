"""Forwards with gradients that no backward follows: a validation that has forgotten ``no_grad``."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

LONG = 3
"""Calls in a row (count) from which on they are remembered."""
MOST = 256


@dataclass(slots=True)
class Window:
    """Calls on fresh batches of a loader between two backward passes.

    Attributes:
        event: when the first of them was made.
        steps: optimizer steps before it.
        calls: how many.
        in_train_mode: how many of them in train mode with modules that care.
        in_eval_mode: how many of them with the whole model in eval mode.
    """

    event: int
    steps: int
    calls: int = 0
    in_train_mode: int = 0
    in_eval_mode: int = 0


class Unpropagated:
    """All such windows; what the loop usually calls before a backward is none."""

    def __init__(self) -> None:
        self.open: Window | None = None
        """What no backward has followed yet."""
        self._usual: Counter[int] = Counter()
        self._long: list[Window] = []

    def called(self, event: int, steps: int, *, in_train_mode: bool, in_eval_mode: bool) -> None:
        """A root was called, with gradients, on a batch that was just read."""
        window = self.open = self.open or Window(event, steps)
        window.calls += 1
        window.in_train_mode += in_train_mode
        window.in_eval_mode += in_eval_mode

    def backward_begins(self) -> None:
        """What was called last belongs to this backward."""
        window = self.open
        if window is None:
            return
        self.open = None
        self._usual[window.calls] += 1
        if window.calls >= LONG:
            self._long = [*self._long, window][-MOST:]

    def windows(self) -> list[Window]:
        """Those that hold two calls or more beyond the usual number."""
        usual = self._usual.most_common(1)[0][0] if self._usual else 1
        last = [self.open] if self.open is not None and self.open.calls >= LONG else []
        return [window for window in (*self._long, *last) if window.calls >= usual + 2]
