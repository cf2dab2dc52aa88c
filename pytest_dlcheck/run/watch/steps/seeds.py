"""Which steps draw the same random numbers: a generator is seeded alike before each. No judgement."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from pytest_dlcheck.run.world import numpy_draws
from pytest_dlcheck.trace import Row

MOST = 1024
"""Seedings that repeat the one before (count), after which no more are listened to: a loop that does so
has shown it, and one that seeds for every sample it reads is not held up."""
_THEIRS = (
    str(Path(torch.__file__).resolve().parent),
    str(Path(__file__).resolve().parents[3]),
)

_FORWARD = torch.nn.Module._call_impl.__code__  # noqa: SLF001  runs every forward


@dataclass
class _Seeding:
    """A seed that was given again, and what was drawn since.

    Attributes:
        call: as it was called, and
        line: where.
        is_within: whether that is in a module's forward: its own random numbers may be meant to stay.
        state: from where on draws are a part of a step; None while a model is evaluated.
        number: the how-manieth it is among those after which something was drawn in a step.
    """

    call: str
    line: str
    is_within: bool
    state: Hashable | None
    number: int = 0


@dataclass
class _Steps:
    """Those of one optimizer that began from the same state of a generator."""

    count: int = 0
    in_a_row: int = 0
    longest: int = 0
    last: int = 0
    seeding: _Seeding | None = None

    def add(self, step: int, seeding: _Seeding) -> None:
        """One that drew after it; not counted where several seedings were a part of it."""
        before = self.seeding
        if before is seeding:
            return
        is_next = before is not None and (step, seeding.number) == (self.last + 1, before.number + 1)
        goes_on = is_next and before is not None and seeding.state == before.state
        self.in_a_row = self.in_a_row + 1 if goes_on else 1
        self.longest = max(self.longest, self.in_a_row)
        self.count += goes_on
        self.last, self.seeding = step, seeding


class Seeds:
    """Follows the seedings of a loop that gives one seed again and again; others cost next to nothing.

    Draws count from the seeding on. Those that a loader makes, or a model that is evaluated, are no part
    of a step: after them, they count from the batch, or from the next call that trains.
    """

    def __init__(self) -> None:
        self.is_open = False
        """Whether a seed was given again, and no other state was set since."""
        self._given: dict[str, int] = {}
        self._open: dict[str, _Seeding] = {}
        self._steps: dict[tuple[int, str], _Steps] = {}
        self._again = 0
        self._drawn: Counter[str] = Counter()

    def seeded(self, name: str, seed: object) -> bool:
        """A generator was given a seed, or another state; returns whether it is the seed it had before.

        Args:
            name: what seeds it.
            seed: what was given; None for any other state.
        """
        number = _number(seed)
        if number is not None or not self._has_drawn(name):  # as in a backward, which draws once more
            self._open.pop(name, None)
        if number is not None:
            again = self._given.get(name) == number and self._again < MOST
            self._given[name] = number
            if again:
                self._again += 1
                place = _place(sys._getframe(1))  # noqa: SLF001  the cheapest way to the caller's line
                self._open[name] = _Seeding(f"{name}({number})", *place, _STATES[name]())
        self.is_open = bool(self._open)
        return number is not None and name in self._open

    def _has_drawn(self, name: str) -> bool:
        return name in self._open and self._open[name].number > 0

    def batch_is_read(self) -> None:
        """What was drawn until now is the loader's."""
        for name, seeding in self._open.items():
            if seeding.state is not None and not seeding.number:
                seeding.state = _STATES[name]()

    def called(self, *, to_train: bool) -> None:
        """A model is called: what was drawn before an evaluation, and in it, is no part of a step."""
        for name, seeding in self._open.items():
            if not to_train and not seeding.number:
                seeding.state = None
            elif seeding.state is None:
                seeding.state = _STATES[name]()

    def backward_begins(self) -> None:
        """Was anything drawn for it?"""
        for name, seeding in self._open.items():
            if seeding.state is not None and not seeding.number and seeding.state != _STATES[name]():
                self._drawn[name] += 1
                seeding.number = self._drawn[name]

    def stepped(self, key: int, step: int) -> None:
        """An optimizer has made so many steps."""
        for name, seeding in self._open.items():
            if seeding.number:
                self._steps.setdefault((key, name), _Steps()).add(step, seeding)

    def rows(self, key: int, steps: int) -> tuple[Row, ...]:
        """Of one optimizer, which made so many steps: a row for each generator that was seeded alike."""
        return tuple(
            Row(
                call=found.seeding.call,
                line=found.seeding.line,
                within=found.seeding.is_within,
                alike=found.count,
                in_a_row=found.longest,
                steps=found.last if self._again >= MOST else steps,
            )
            for (of, _), found in self._steps.items()
            if of == key and found.count and found.seeding is not None
        )


def _number(seed: object) -> int | None:
    try:
        return int(seed)  # type: ignore[call-overload,no-any-return]
    except (TypeError, ValueError):
        return None


def _torch_state() -> Hashable:
    """Of the CPU's generator, and of that of the CUDA device in use, where it is awake."""
    host = torch.get_rng_state().numpy().tobytes()
    if not torch.cuda.is_initialized() or torch.cuda.is_current_stream_capturing():  # type: ignore[no-untyped-call]
        return host
    return host, torch.cuda.get_rng_state().numpy().tobytes()


_STATES: dict[str, Callable[[], Any]] = {
    "torch.manual_seed": _torch_state,
    "random.seed": random.getstate,
    "numpy.random.seed": numpy_draws.standing,
}


def _place(frame: FrameType | None) -> tuple[str, bool]:
    """The line of the user's code, and whether a module's forward has led to it."""
    line = ""
    while frame is not None:
        file = frame.f_code.co_filename
        if frame.f_code is _FORWARD:
            return line, True
        if not line and not file.startswith(_THEIRS):
            line = f"{Path(file).name}:{frame.f_lineno}"
        frame = frame.f_back
    return line, False
