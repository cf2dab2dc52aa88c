"""When costly channels are recorded: on every early step, then ever more rarely."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    """Steps to record at: each of the first ``first``, then ``per_octave`` in every doubling.

    Attributes:
        first: recorded steps at the start, a power of two.
        per_octave: recorded steps between n and 2n, a power of two.
    """

    first: int
    per_octave: int

    def __contains__(self, step: int) -> bool:
        if step < self.first:
            return True
        octave = 1 << (step.bit_length() - 1)
        return (step - octave) % max(1, octave // self.per_octave) == 0

    def following(self, step: int) -> int:
        """The first step to record at that is no earlier than this one."""
        if step < self.first:
            return step
        octave = 1 << (step.bit_length() - 1)
        width = max(1, octave // self.per_octave)
        return step + (octave - step) % width


class Due:
    """Whether it is a schedule's turn, asked step by step: a mere comparison where it is not.

    Args:
        schedule: which; steps come in order, each as often as it may be.
    """

    __slots__ = ("_schedule", "next")

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self.next = schedule.following(0)
        """The step whose turn is next, or is now."""

    def __call__(self, step: int) -> bool:
        """Whether this step is one to record at."""
        if step > self.next:
            self.next = self._schedule.following(step)
        return step == self.next


EVERY = Schedule(1 << 62, 1)
"""Every step."""
GRADIENTS = Schedule(32, 8)
"""Gradient norms cost 1-2 % of a step of a millisecond or more."""
TENSORS = Schedule(8, 4)
"""Updates and activations read whole tensors."""
WATCHED = Schedule(16, 4)
"""Of a loop that is only watched, whose steps may take 0.3 ms: each look adds as much. All are among the
first schedule's; none of the loops in the tests needs more to have its faults found."""
