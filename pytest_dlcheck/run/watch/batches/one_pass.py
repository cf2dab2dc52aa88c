"""What two trainings that each see their samples once have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_dlcheck.run.watch.batches.seen import FEW

SAME = 0.9
"""Share of the samples (ratio) that two trainings on the same data have in common, or that come once."""
BY_CHANCE = 0.5
"""Share of the samples (ratio) that two parts of the same data have in common by chance which two
trainings must have; those on other data have none."""


@dataclass(frozen=True)
class OnePass:
    """One training's samples, as far as they are remembered.

    Attributes:
        samples: by their numbers.
        batches: that they came in (count).
    """

    samples: frozenset[float]
    batches: int

    @classmethod
    def of(cls, batches: Sequence[Sequence[float]]) -> OnePass | None:
        """Those of some batches; None where samples came more than once."""
        values = [value for batch in batches for value in batch]
        found = frozenset(values)
        return cls(found, len(batches)) if len(found) >= SAME * len(values) > 0 else None

    def is_as(self, other: OnePass) -> bool:
        """Whether they are the same as another's, but for a few."""
        return self._shared(other) >= SAME * max(len(self.samples), len(other.samples), 1)

    def is_of_the_data_of(self, other: OnePass, steps: int, share: float = BY_CHANCE) -> bool:
        """Whether both are parts of the same data.

        Args:
            other: of another training.
            steps: that each of them took.
            share: of what chance alone has in common, where both see all (ratio), that is enough.
        """
        mine, theirs = len(self.samples), len(other.samples)
        if min(mine, theirs) < FEW:
            return False
        whole = mine / self.batches * steps
        return self._shared(other) >= share * mine * theirs / whole

    def _shared(self, other: OnePass) -> int:
        return len(self.samples & other.samples)
