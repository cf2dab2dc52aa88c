"""When learning rate schedulers step: beside which optimizer's steps, and in which order."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

from pytest_dlcheck.trace import Row

HORIZONS = ("T_max", "step_size")
"""What schedulers call the length of their first part."""


@dataclass
class _Schedule:
    scheduler: weakref.ref[Any]
    name: str
    horizon: int | None
    steps: int = 0


class Schedules:
    """The schedulers of one optimizer; the one that steps most is told of."""

    def __init__(self) -> None:
        self._known: dict[int, _Schedule] = {}
        self._is_between = False
        self.early = 0
        """Steps of the optimizer that a scheduler's step came before, after the backward."""
        self.before_first = self.since_last = 0
        """Steps of schedulers before the optimizer's first, and since its last."""
        self.optimizer_steps = 0

    def steps(self, scheduler: Any, *, pending: bool) -> None:
        """A scheduler has stepped; pending are gradients that the optimizer has not applied yet."""
        known = self._known.get(id(scheduler))
        if known is None or known.scheduler() is not scheduler:
            name, horizon = type(scheduler).__name__, _horizon(scheduler)
            known = self._known[id(scheduler)] = _Schedule(weakref.ref(scheduler), name, horizon)
        known.steps += 1
        self._is_between = pending
        self.before_first += not self.optimizer_steps
        self.since_last += 1

    def backward_begins(self) -> None:
        """What was between is a part of accumulation."""
        self._is_between = False

    def optimizer_stepped(self) -> None:
        """The optimizer has stepped."""
        self.early += self._is_between
        self._is_between = False
        self.since_last = 0
        self.optimizer_steps += 1

    def row(self) -> Row:
        """What was seen, in numbers."""
        most = max(self._known.values(), key=lambda each: each.steps, default=None)
        return Row(
            name=most.name if most else "",
            horizon=most.horizon if most else None,
            steps=most.steps if most else 0,
            schedulers=len(self._known),
            early=self.early,
            before_first=self.before_first,
            since_last=self.since_last,
        )


def _horizon(scheduler: Any) -> int | None:
    for name in HORIZONS:
        value = getattr(scheduler, name, None)
        if type(value) is int:
            return value
    milestones = getattr(scheduler, "milestones", None)
    return int(max(milestones)) if type(scheduler).__name__ == "MultiStepLR" and milestones else None
