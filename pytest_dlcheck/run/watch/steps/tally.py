"""How often something happened in a loop, and at which step first."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Tally:
    """Counts steps.

    Attributes:
        count: how many.
        first: the first of them; None where there is none.
    """

    count: int = 0
    first: int | None = None

    def add(self, step: int) -> None:
        """It happened at this step."""
        self.count += 1
        self.first = step if self.first is None else self.first
