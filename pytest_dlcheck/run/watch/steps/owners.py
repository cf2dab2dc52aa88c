"""The optimizers that step one set of parameters, one after the other or in turn. No judgement."""

from __future__ import annotations

import weakref
from collections import Counter
from typing import Any

import torch


class Owners:
    """Who steps, and for whom schedulers do.

    Args:
        first: the optimizer that stepped first.
    """

    def __init__(self, first: torch.optim.Optimizer) -> None:
        self._known = weakref.WeakSet((first,))
        self._rates = _rates(first)
        self._misdirected: Counter[int] = Counter()
        self.count = 1
        """How many there were."""
        self.turns = 0
        """How often one stepped again after another had."""
        self.changed = False
        """Whether the next step is the first after a change."""

    def know(self, optimizer: torch.optim.Optimizer) -> bool:
        """Whether it has stepped before."""
        return optimizer in self._known

    def take_over(self, optimizer: torch.optim.Optimizer) -> bool:
        """It steps now, after another one; returns whether it is new."""
        is_new, self.changed = not self.know(optimizer), True
        self._rates = _rates(optimizer)
        self._known.add(optimizer)
        self._misdirected.pop(id(optimizer), None)
        self.count += is_new
        self.turns += not is_new
        return is_new

    def schedule_steps(
        self, scheduled: torch.optim.Optimizer, stepping: torch.optim.Optimizer | None
    ) -> None:
        """A scheduler has stepped for another optimizer of the same parameters than the one that steps.

        One that is wrapped by the other shares its rates, and is none.

        Args:
            scheduled: that other one.
            stepping: the one that steps; None where it is gone already.
        """
        rates = self._rates if stepping is None else _rates(stepping)
        if rates != _rates(scheduled):
            self._misdirected[id(scheduled)] += 1

    @property
    def misdirected(self) -> int:
        """Steps of schedulers for an optimizer that does not step, or no more."""
        return max(self._misdirected.values(), default=0)


def _rates(optimizer: torch.optim.Optimizer) -> list[Any]:
    """The learning rates on the host."""
    rates = [group.get("lr") for group in optimizer.param_groups]
    return [rate for rate in rates if isinstance(rate, (int, float))]
