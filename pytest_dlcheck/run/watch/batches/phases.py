"""Evaluations in a row: which of them are validations, and whether the optimizer stepped in between."""

from __future__ import annotations

import math
from dataclasses import dataclass

PHASES = 4096
"""Rows of evaluations counted at most."""
APART = 3
"""Backward passes (count) around a single evaluation from which on it is no part of a step."""


@dataclass
class _Phase:
    """Evaluations in a row: a validation, or a part of a step, as a teacher's targets are.

    Attributes:
        event: a number of its own.
        backwards: backward passes before it.
        is_part: it read one batch of a loader's several.
        in_train_mode: the model was in train mode.
        calls: how many evaluations.
    """

    event: int
    backwards: int
    is_part: bool
    in_train_mode: bool
    calls: int = 1


@dataclass
class _Inside:
    """Evaluations in a row, and before how many of them the optimizer had stepped since the last."""

    event: int = -1
    steps: int = 0
    compared: int = 0
    stepped: int = 0


class Phases:
    """Evaluations, by the rows that they come in."""

    def __init__(self) -> None:
        self._phases: list[_Phase] = []
        self._inside, self._worst = _Inside(), _Inside()

    def add(
        self, event: int, backwards: int, steps: int, *, is_part: bool, in_train_mode: bool = False
    ) -> None:
        """One more evaluation.

        Args:
            event: a number that evaluations in a row share.
            backwards: backward passes before it.
            steps: optimizer steps before it.
            is_part: whether it read one batch of a loader's several.
            in_train_mode: whether the model was in train mode, which made no difference.
        """
        if self._phases and self._phases[-1].event == event:
            self._phases[-1].calls += 1
        elif len(self._phases) < PHASES:
            self._phases.append(_Phase(event, backwards, is_part, in_train_mode))
        if not in_train_mode:
            self._look_for_steps(event, steps)

    def calls(self) -> dict[int, int]:
        """How many evaluations were made in each row, by its number."""
        return {phase.event: phase.calls for phase in self._phases}

    def validations(self) -> set[int]:
        """The numbers of the rows that are no part of a step.

        In eval mode several in a row are none. In train mode an agent may be asked as often, between two
        steps, what to do and what that is worth.
        """
        found, many = set(), math.inf
        for i, phase in enumerate(self._phases):
            before = phase.backwards - self._phases[i - 1].backwards if i else many
            after = (
                self._phases[i + 1].backwards - phase.backwards if i + 1 < len(self._phases) else many
            )
            are_several, is_apart = phase.calls > 1, min(before, after) >= APART
            is_told = is_apart and (are_several or not phase.is_part)
            if is_told or (are_several and not phase.in_train_mode):
                found.add(phase.event)
        return found

    def stepped_inside(self) -> tuple[int, int]:
        """Evaluations that followed one of their row, where most had steps between; and how many had."""
        return self._worst.compared, self._worst.stepped

    def drop_a_single_last(self) -> None:
        """Nobody knows what would have followed the last one."""
        if self._phases and self._phases[-1].calls == 1:
            self._phases.pop()

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
