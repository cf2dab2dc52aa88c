"""Models that are called without gradients while another is trained: teachers, targets. No judgement."""

from __future__ import annotations

import sys
import weakref
from dataclasses import dataclass, field

from torch import nn

from pytest_dlcheck.run.watch.compiling import Compilation
from pytest_dlcheck.run.watch.evaluated.lagging import Lag
from pytest_dlcheck.run.watch.guard import Guard
from pytest_dlcheck.run.watch.models.following import Sample, is_fresh
from pytest_dlcheck.run.watch.taps.once import Once
from pytest_dlcheck.trace import Row

MODELS = 8
"""Models that are followed."""
OFTEN = 8
"""Looks in every doubling of the steps, about."""
PAIRS = 8
"""Times (count) that one is held against what it was a copy of: at its calls after two of"""
IN_A_ROW = 8
"""steps (count) on end; several optimizers may step between them."""


@dataclass
class _Teacher:
    model: weakref.ref[nn.Module]
    name: str
    keys: frozenset[int]
    before: Sample
    steps: int = 0
    in_train_mode: int = 0
    last: int = -1
    since: int = 0
    until: int = 0
    moved: bool = False
    was_copy: bool = False
    was_fresh: bool = False
    student: weakref.ref[nn.Module] | None = None
    """What it was a copy of when that began to be trained."""
    lag: Lag = field(default_factory=Lag)
    heard: Once | None = None
    """Waits for its next call."""

    def look(self, steps: int) -> None:
        """Whether it has moved until now."""
        if (model := self.model()) is not None:
            self.moved |= not self.before.equals(model)
            self.until = steps

    def listen(self, guard: Guard, steps: int) -> bool:
        """At its next call, see how far it is behind; returns whether there is anything to see yet."""
        self.rest()
        model = self.model()
        if model is None or self.student is None or self.lag.count >= PAIRS or self.lag.is_told:
            return False

        def begins() -> None:
            copy, student = self.model(), None if self.student is None else self.student()
            if copy is not None and student is not None:
                self.lag.look(copy, student, steps)

        self.heard = Once(model, ended=guard(begins))
        return True

    def rest(self) -> None:
        """Wait no more."""
        if self.heard is not None:
            self.heard.cancel()
        self.heard = None


class Teachers:
    """What is called so and has parameters; what an optimizer steps is left out in the end.

    Heard are its calls in the first steps of an optimizer, and where a pass over a loader begins.

    Args:
        guard: stands before what models call.
        compilation: during which no call is listened to.
    """

    def __init__(self, guard: Guard, compilation: Compilation) -> None:
        self._guard, self._compilation = guard, compilation
        self._known: dict[int, _Teacher] = {}
        self._next = self._left = 0
        """When they are looked at, and at how many steps from there on."""

    def called(self, model: nn.Module, steps: int, *, in_train_mode: bool) -> None:
        """It is called without gradients.

        Args:
            model: which.
            steps: optimizer steps before it.
            in_train_mode: whether modules of it are, to which that makes a difference.
        """
        teacher = self._known.get(id(model))
        if teacher is None or teacher.model() is not model:
            if len(self._known) >= MODELS:
                return
            keys = frozenset(id(p) for p in model.parameters())
            who, name = weakref.ref(model), type(model).__name__
            teacher = self._known[id(model)] = _Teacher(who, name, keys, Sample.of(model))
        if teacher.last != steps:
            teacher.last = steps
            teacher.steps += 1
            teacher.in_train_mode += in_train_mode

    def stepped(self, steps: int) -> None:
        """An optimizer has stepped, for this time: now and then, look whether they have moved."""
        if not self._known or steps < self._next:
            return
        for teacher in self._known.values():
            teacher.look(steps)
        self._left = self._left - 1 if self._left else IN_A_ROW
        if self._left == IN_A_ROW:
            for teacher in self._known.values():
                teacher.lag.begin_again()
        if self._left and self._listens(steps):
            self._next = steps + 1
            return
        for teacher in self._known.values():
            teacher.rest()
        self._left, self._next = 0, steps + max(1, steps // OFTEN)

    def _listens(self, steps: int) -> bool:
        """Whether the next calls of some are heard."""
        if self._compilation.is_at_work:
            return False
        heard = [each.listen(self._guard, steps) for each in self._known.values()]
        return any(heard)

    @property
    def next(self) -> int:
        """The number of steps after which they are looked at again."""
        return self._next if self._known else sys.maxsize

    def training_begins(self, model: nn.Module, steps: int) -> None:
        """This model is about to be stepped, for the first time: what is counted begins anew."""
        shapes = [p.shape for p in model.parameters()]
        for teacher in self._known.values():
            one = teacher.model()
            if one is None or one is model:
                continue
            teacher.before, teacher.moved = Sample.of(one), False
            teacher.steps = teacher.in_train_mode = 0
            teacher.since = teacher.until = steps
            alike = [p.shape for p in one.parameters()] == shapes
            teacher.was_copy = alike and teacher.before.equals(model)
            teacher.was_fresh = teacher.was_copy and is_fresh(one)
            teacher.student = weakref.ref(model) if teacher.was_copy else None
            teacher.lag = Lag()

    def close(self, steps: int) -> None:
        """Look once more."""
        for teacher in self._known.values():
            teacher.look(steps)
            teacher.rest()

    def rows(self, stepped: set[int]) -> tuple[Row, ...]:
        """A row per model; it stands still for no step where it has moved.

        Args:
            stepped: the parameters, by identity, that optimizers step.
        """
        return tuple(
            Row(
                model=teacher.name,
                steps=teacher.steps,
                in_train_mode=teacher.in_train_mode,
                stands_still=0 if teacher.moved else teacher.until - teacher.since,
                was_copy=teacher.was_copy,
                was_fresh=teacher.was_fresh,
                **teacher.lag.facts(),
            )
            for teacher in self._known.values()
            if teacher.keys and not teacher.keys & stepped
        )
