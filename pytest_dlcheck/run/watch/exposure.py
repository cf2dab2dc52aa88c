"""Which samples one optimizer's model is trained on, and on which of them it is evaluated later."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from pytest_dlcheck.run.sampling import Schedule
from pytest_dlcheck.run.tree import tensors
from pytest_dlcheck.run.watch.loading import Loading
from pytest_dlcheck.run.watch.prints import rounded, row_prints
from pytest_dlcheck.trace import Row

BATCHES = 256
"""Batches remembered of each kind: of 64 samples, 16,384."""
PHASES = 4096
"""Rows of evaluations counted at most."""
FIRST = 8
"""Batches that are remembered of the beginning of every pass over a loader, and"""
SAMPLES = Schedule(32, 4)
"""steps at which they are remembered in any case."""
APART = 3
"""Backward passes (count) around a single evaluation from which on it is no part of a step."""
FEW = 16
"""Samples (count) of a pass from which on it says anything by itself."""


@dataclass(frozen=True)
class _Seen:
    prints: Tensor
    step: int
    stream: int
    training: bool
    phase: int = 0

    def values(self) -> list[float]:
        return rounded(self.prints.tolist())


@dataclass
class _Reading:
    """How far the pass is that batches come from."""

    stream: int = -1
    position: int = 0

    def is_due(self, stream: int) -> bool:
        if stream != self.stream:
            self.stream, self.position = stream, -1
        self.position += 1
        return self.position < FIRST or self.position in SAMPLES


@dataclass
class _Phase:
    """Evaluations in a row: a validation, or a part of a step, as a teacher's targets are.

    Attributes:
        event: a number of its own.
        backwards: backward passes before it.
        is_part: it read one batch of a loader's several.
        calls: how many evaluations.
    """

    event: int
    backwards: int
    is_part: bool
    calls: int = 1


@dataclass
class _Inside:
    """Evaluations in a row, and before how many of them the optimizer had stepped since the last."""

    event: int = -1
    steps: int = 0
    compared: int = 0
    stepped: int = 0


@dataclass
class _Steps:
    """Steps in eval mode that follow steps in train mode."""

    count: int = 0
    in_eval: int = 0
    runs: int = 0
    runs_on_a_new_pass: int = 0
    mode: bool = True
    last_pass: int = field(default=-1)

    def add(self, *, training: bool, stream: int) -> None:
        if not training and self.count:
            begins = self.mode
            self.in_eval += 1
            self.runs += begins
            self.runs_on_a_new_pass += begins and stream != self.last_pass
        self.mode, self.last_pass = training, stream
        self.count += 1


class Exposure:
    """What is trained on and what is evaluated: samples by their numbers, on sampled batches.

    An evaluation is a call of the root in eval mode without gradients.
    """

    def __init__(self) -> None:
        self._trained: list[_Seen] = []
        self._evaluated: list[_Seen] = []
        self._pending: _Seen | None = None
        self._training, self._evaluating = _Reading(), _Reading()
        self._inside, self._worst = _Inside(), _Inside()
        self._steps = _Steps()
        self._calls = 0
        self._phases: list[_Phase] = []
        self.truncated = self.shuffled = 0
        """Samples that an evaluation's loader leaves out, and evaluations in random order."""

    def is_called_to_train(self, step: int, arguments: Any, loading: Loading, *, training: bool) -> None:
        """The root is called with gradients; whether that trains is known when a backward follows."""
        self._pending = None
        due = self._training.is_due(loading.passes)
        if len(self._trained) < BATCHES and (due or step in SAMPLES):
            self._pending = _seen(arguments, step, loading.passes, training=training)

    def is_propagated(self) -> None:
        """A backward follows."""
        if self._pending is not None:
            self._trained.append(self._pending)
            self._pending = None

    def is_stepped(self, *, training: bool) -> None:
        """What it was called on is applied."""
        self._steps.add(training=training, stream=self._training.stream)

    def is_evaluated(
        self, step: int, arguments: Any, loading: Loading | None, event: int, backwards: int
    ) -> None:
        """The root is called in eval mode without gradients.

        Args:
            step: optimizer steps before it.
            arguments: what it is called on.
            loading: how loaders were read; None where this is no loader's batch.
            event: a number that evaluations in a row share.
            backwards: backward passes before it.
        """
        self._calls += 1
        self._count(event, backwards, is_part=loading is not None and loading.length > 1)
        self._look_for_steps(event, step)
        stream = -self._calls if loading is None else loading.passes
        due = self._evaluating.is_due(stream)
        if loading is not None and self._evaluating.position == 0:
            self.truncated = max(self.truncated, loading.left_out)
            self.shuffled += loading.is_shuffled
        if due and len(self._evaluated) < BATCHES:
            seen = _seen(arguments, step, stream, training=False, phase=event)
            if seen is not None:
                self._evaluated.append(seen)

    def validations(self) -> int:
        """Evaluations in a row that are no part of a step."""
        return len(self._validations())

    def forget(self) -> None:
        """Another optimizer takes over: the parameters may have been set back, as between folds."""
        self._trained, self._pending = [], None

    def row(self) -> Row:
        """What was seen, in numbers."""
        trained: dict[float, int] = {}
        modes: dict[float, set[bool]] = defaultdict(set)
        for seen in self._trained:
            for value in seen.values():
                trained.setdefault(value, seen.step)
                modes[value].add(seen.training)
        in_eval = [v for v, m in modes.items() if False in m]
        return Row(
            **_overlap(trained, [seen for seen in self._evaluated if seen.phase in self._validations()]),
            compared=self._worst.compared,
            stepped_inside=self._worst.stepped,
            eval_steps=self._steps.in_eval,
            eval_runs=self._steps.runs,
            eval_runs_on_a_new_pass=self._steps.runs_on_a_new_pass,
            eval_trained=len(in_eval),
            eval_trained_in_both=sum(True in modes[v] for v in in_eval),
            truncated=self.truncated,
            shuffled=self.shuffled,
        )

    def close(self, *, early: bool) -> None:
        """Nothing more is trained; early is before the watch ends."""
        if early and self._phases and self._phases[-1].calls == 1:
            self._phases.pop()  # nobody knows what follows it
        self._pending = None

    def _count(self, event: int, backwards: int, *, is_part: bool) -> None:
        if self._phases and self._phases[-1].event == event:
            self._phases[-1].calls += 1
        elif len(self._phases) < PHASES:
            self._phases.append(_Phase(event, backwards, is_part))

    def _validations(self) -> set[int]:
        """The phases that are no part of a step."""
        found, many = set(), math.inf
        for i, phase in enumerate(self._phases):
            before = phase.backwards - self._phases[i - 1].backwards if i else many
            after = (
                self._phases[i + 1].backwards - phase.backwards if i + 1 < len(self._phases) else many
            )
            if phase.calls > 1 or (min(before, after) >= APART and not phase.is_part):
                found.add(phase.event)
        return found

    def _look_for_steps(self, event: int, steps: int) -> None:
        now = self._inside
        if now.event != event:
            self._inside = _Inside(event, steps)
            return
        now.compared += 1
        now.stepped += now.steps != steps
        now.steps = steps
        if now.stepped > self._worst.stepped:
            self._worst = now


def _overlap(trained: dict[float, int], evaluated: list[_Seen]) -> dict[str, int | float | None]:
    late = [seen for seen in evaluated if 2 * seen.step >= max(s.step for s in evaluated)]
    streams: dict[tuple[int, int], list[float]] = defaultdict(list)
    hits: dict[tuple[int, int], int] = defaultdict(int)
    for seen in late:
        values, key = seen.values(), (seen.stream, seen.step)
        streams[key] += values
        hits[key] += sum(trained.get(v, seen.step) < seen.step for v in values)
    told = {value for seen in evaluated for value in seen.values()}
    count = sum(map(len, streams.values()))
    shares = [hits[key] / len(values) for key, values in streams.items() if len(values) >= FEW]
    return {
        "trained": len(trained),
        "trained_and_evaluated": sum(value in told for value in trained),
        "evaluated": count,
        "evaluated_distinct": sum(len(set(values)) for values in streams.values()),
        "evaluated_after_training": sum(hits.values()),
        "cleanest": min(shares, default=None),
        "dirtiest": max(shares, default=None),
    }


def _seen(arguments: Any, step: int, stream: int, *, training: bool, phase: int = 0) -> _Seen | None:
    found = tensors(arguments)
    prints = row_prints(found[0]) if found else None
    return None if prints is None else _Seen(prints, step, stream, training, phase)
