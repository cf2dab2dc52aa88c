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


EVERY = Schedule(1 << 62, 1)
"""Every step."""
GRADIENTS = Schedule(32, 8)
"""Gradient norms cost 1-2 % of a step of a millisecond or more."""
TENSORS = Schedule(8, 4)
"""Updates and activations read whole tensors."""
