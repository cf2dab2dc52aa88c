"""What was measured over a repository's life, as values that a report can draw. No store, no queries."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HistoryPoint:
    """One measurement of the past.

    Attributes:
        when: when it was taken, in ISO 8601.
        value: the number, in the history's unit.
        label: what was measured, such as a commit; shown on hovering.
        low, high: the limits of its interval; None where there is none.
    """

    when: str
    value: float
    label: str = ""
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class History:
    """One quantity of one recipe over time.

    Attributes:
        recipe: the recipe's name, as in the findings.
        measure: the quantity, in the field's term.
        unit: its unit; ``"ratio"`` or ``"count"`` where it has none.
        points: the measurements, oldest first.
        limit: what the next measurement is held against, in ``unit``; None where there is nothing.
        changes: the indices of the points at which a new level begins.
    """

    recipe: str
    measure: str
    unit: str
    points: tuple[HistoryPoint, ...]
    limit: float | None = None
    changes: tuple[int, ...] = ()
