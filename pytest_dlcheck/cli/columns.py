"""Columns and numbers as the commands print them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import click

from pytest_dlcheck.verdict import Outcome

_BARE = frozenset({"", "ratio", "count"})


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns as wide as they have to be; nothing is cut, and empty ones take no room."""
    used = [i for i in range(len(head)) if any(row[i] for row in rows)]
    widths = {i: max(len(head[i]), *(len(row[i]) for row in rows)) for i in used}
    for position, row in enumerate([head, *rows]):
        line = "  ".join(f"{row[i]:<{widths[i]}}" for i in used).rstrip()
        click.echo(click.style(line, dim=True) if position == 0 else line)


def number(value: float, unit: str) -> str:
    """A number with its unit, if it has one."""
    return f"{value:,.5g} {unit_of(unit)}".rstrip()


def unit_of(unit: str) -> str:
    """A unit as it is shown: nothing where the number has none."""
    return "" if unit in _BARE else unit


def interval(low: float | None, high: float | None) -> str:
    """An interval, or nothing."""
    return "" if low is None or high is None else f"[{low:,.5g}, {high:,.5g}]"


def outcome_mark(outcome: Outcome) -> str:
    """What there is to say of an outcome: nothing where all was well."""
    return "" if outcome is Outcome.PASSED else str(outcome)


def date(time: float) -> str:
    """A time in UTC; a clock that was far off is no error."""
    try:
        return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, OSError, ValueError):
        return "no such time"
