"""What a loop counts where a model begins to be trained: epochs, or seeds and folds. No judgement."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import FrameType
from typing import TypeAlias

from pytest_dlcheck.run.code.frames import apart, callers, variables, words_of

FRAMES = 6
"""Functions around a model's first step whose variables are looked at."""
_EPOCH = re.compile(r"(i|this|cur|current)?_?epoch(_?(i|id|idx|index|nr|no|num|number))?|ep")
"""The name of the epoch that goes on, in small letters; others are how many there are, or the best."""
_OTHERS = frozenset(
    {
        *("seed", "seeds", "fold", "split", "trial", "run", "rep", "repeat", "repetition", "replica"),
        *("member", "round", "client", "worker", "task", "generation", "gen", "student", "teacher"),
        *("stage", "phase", "cycle", "attempt", "restart", "experiment", "exp", "config", "candidate"),
    }
)
"""Words for what has a model of its own each."""
_Place: TypeAlias = tuple[int, str, str]
"""Calls around the step, the function's name, and the variable's."""


@dataclass(frozen=True)
class Counted:
    """Numbers and words of the variables around a step.

    Attributes:
        epochs: by the function, whose variable it is, and its name.
        others: of what has a model of its own each, in the same way; where it is no number and no word,
            which object it is.
    """

    epochs: dict[_Place, int] = field(default_factory=dict)
    others: dict[_Place, int | str] = field(default_factory=dict)

    @classmethod
    def of(cls, frame: FrameType | None) -> Counted:
        """What is counted there now.

        Args:
            frame: of the function that steps.
        """
        found = cls()
        for depth, caller in enumerate(callers(frame, FRAMES)):
            for name, value in variables(caller).items():
                key = (depth, caller.f_code.co_name, name)
                if type(value) is int and _EPOCH.fullmatch(apart(name)):
                    found.epochs[key] = value
                elif words_of(name) & _OTHERS:
                    found.others[key] = value if type(value) in {int, str} else id(value)
        return found

    def is_epoch_after(self, before: Counted) -> bool:
        """Whether all that is called an epoch is by one more than before, and nothing else counts."""
        ours, theirs = self.epochs, before.epochs
        rises = all(ours.get(key) == epoch + 1 for key, epoch in theirs.items())
        return bool(theirs) and ours.keys() == theirs.keys() and rises and self.others == before.others

    def name(self) -> str:
        """What is called an epoch, innermost; empty where nothing is."""
        return next((name for *_, name in self.epochs), "")
