"""How often something happened in a loop, and at which step first."""

from __future__ import annotations

from dataclasses import dataclass, field


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


@dataclass
class Reached(Tally):
    """Counts steps of a model that backward reaches: after those, another may be in its place."""

    _sure: tuple[int, int | None] = field(default=(0, None), repr=False)
    _is_left: bool = field(default=False, repr=False)

    def reach(self) -> None:
        """Backward has reached the model: what was counted holds."""
        self._sure, self._is_left = (self.count, self.first), False

    def leave(self) -> None:
        """The optimizer steps, and backward has not reached the model, as it did before."""
        self._is_left = True

    def settle(self) -> None:
        """Nothing more is counted."""
        if self._is_left:
            self.count, self.first = self._sure
