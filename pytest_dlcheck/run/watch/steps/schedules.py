"""When learning rate schedulers step: beside which optimizer's steps, and in which order."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

from pytest_dlcheck.run.horizons import horizon_of
from pytest_dlcheck.trace import Row


@dataclass
class _Schedule:
    scheduler: weakref.ref[Any]
    name: str
    horizon: int | None
    factor: float
    steps: int = 0


class Schedules:
    """The schedulers of one optimizer; the one that steps most is told of, a whole before its parts."""

    def __init__(self) -> None:
        self._known: dict[int, _Schedule] = {}
        self._built = ""
        """The kind of the last one that was made: it may be made of others."""
        self.are_used = False
        """Whether one of them has stepped, those that wait for a plateau too."""
        self._is_between = False
        self.early = 0
        """Steps of the optimizer that a scheduler's step came before, after the backward."""
        self.before_first = self.since_last = 0
        """Steps of schedulers before the optimizer's first, and since its last."""
        self.named = 0
        """Steps of schedulers that were told to which epoch."""
        self._has_stepped = False

    def is_built(self, scheduler: Any) -> None:
        """A scheduler was made for this optimizer."""
        self._built = type(scheduler).__name__

    def steps(self, scheduler: Any, *, pending: bool, is_named: bool = False) -> None:
        """A scheduler has stepped.

        Args:
            scheduler: which.
            pending: whether there are gradients that the optimizer has not applied yet.
            is_named: whether it was told to which epoch: that one's rate is set, and none is skipped.
        """
        known = self._known.get(id(scheduler))
        if known is None or known.scheduler() is not scheduler:
            name, horizon = type(scheduler).__name__, horizon_of(scheduler)
            factor = getattr(scheduler, "gamma", getattr(scheduler, "T_mult", 0.0))
            factor = float(factor) if isinstance(factor, (int, float)) else 0.0
            known = _Schedule(weakref.ref(scheduler), name, horizon, factor)
            self._known[id(scheduler)] = known
        known.steps += 1
        self.are_used = True
        self.named += is_named
        self._is_between = pending and not is_named
        self.before_first += not (self._has_stepped or is_named)
        self.since_last += 1

    def backward_begins(self) -> None:
        """What was between is a part of accumulation."""
        self._is_between = False

    def optimizer_stepped(self) -> None:
        """The optimizer has stepped, for the first time or since a scheduler has."""
        self.early += self._is_between
        self._is_between = False
        self.since_last = 0
        self._has_stepped = True

    def row(self) -> Row:
        """What was seen, in numbers."""
        most = max(self._known.values(), key=lambda each: (each.steps, each.horizon or 0), default=None)
        return Row(
            name=most.name if most else "",
            horizon=most.horizon if most else None,
            factor=most.factor if most else 0.0,
            steps=most.steps if most else 0,
            schedulers=len(self._known),
            named=self.named,
            early=self.early,
            before_first=self.before_first,
            since_last=self.since_last,
            unstepped="" if self.are_used else self._built,
        )
