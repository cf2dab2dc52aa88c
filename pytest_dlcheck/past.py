"""What was measured before, as values that a report can draw: from the store's to the reports'."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pytest_dlcheck.store.place import Place
from pytest_dlcheck.store.records import Point, Series

if TYPE_CHECKING:
    from pytest_dlcheck.reports.html.history import History
    from pytest_dlcheck.store.changes import Change


def drawn(series: Series, points: Sequence[Point], changes: Sequence[Change] = ()) -> History:
    """One series, ready to be drawn.

    Args:
        series: what was measured, of which recipe.
        points: its measures, oldest first.
        changes: where a new level begins.
    """
    from pytest_dlcheck.reports.html.history import History, HistoryPoint

    return History(
        series.short,
        series.measure,
        series.unit,
        tuple(
            HistoryPoint(
                datetime.fromtimestamp(point.run.time, UTC).strftime("%Y-%m-%d %H:%M"),
                point.measure.value,
                " ".join(filter(None, [point.run.place, point.run.branch])),
                point.measure.low,
                point.measure.high,
            )
            for point in points
        ),
        None,
        tuple(change.index for change in changes),
    )


def measured_in(place: Place, run: str, recipes: Collection[str]) -> tuple[History, ...]:
    """The series that a run has added to, with all that was measured before it.

    Args:
        place: the history.
        run: the run's uid.
        recipes: the names of its recipes.

    Raises:
        StoreError: the history cannot be read.
    """
    from pytest_dlcheck.store.changes import changes
    from pytest_dlcheck.store.database import opened
    from pytest_dlcheck.store.history import all_series, points

    with opened(place) as database:
        series = {n: one for n, one in all_series(database).items() if one.short in recipes}
        past = [(one, points(database, number, one)) for number, one in series.items()]
    return tuple(
        drawn(one, found, changes([point.measure.value for point in found]))
        for one, found in past
        if found and found[-1].run.uid == run
    )
