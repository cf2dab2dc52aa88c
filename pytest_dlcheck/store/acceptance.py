"""Moves baselines: what a recipe is held against from now on, and why. Who did it is not kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select

from pytest_dlcheck.store.database import Database
from pytest_dlcheck.store.records import Run
from pytest_dlcheck.store.tables import ACCEPTED


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A baseline that was moved.

    Attributes:
        recipe: the node id of the recipe's variant.
        commit: the commit whose runs count from then on; empty where there was no git.
        run_uid: the run that was looked at.
        time: when it was accepted, in seconds since 1970, UTC.
        reason: why.
    """

    recipe: str
    commit: str
    run_uid: str
    time: float
    reason: str


def accept(database: Database, recipes: Iterable[str], run: Run, *, reason: str, time: float) -> None:
    """Hold recipes against what a run's commit measures, from now on.

    Args:
        database: the history.
        recipes: their node ids.
        run: a run of the commit that is accepted.
        reason: why.
        time: now, in seconds since 1970, UTC.

    Raises:
        StoreError: nothing was moved.
    """
    told = {"commit_name": run.commit, "run_uid": run.uid, "time": time, "reason": reason}
    rows: list[dict[str, Any]] = [{"recipe": recipe, **told} for recipe in recipes]
    with database.writing() as connection:
        connection.execute(insert(ACCEPTED), rows)


def acceptances(database: Database) -> tuple[Acceptance, ...]:
    """Every baseline that was moved, oldest first.

    Raises:
        StoreError: the history cannot be read.
    """
    with database.reading() as connection:
        rows = connection.execute(select(ACCEPTED).order_by(ACCEPTED.c.time, ACCEPTED.c.id))
        return tuple(
            Acceptance(row.recipe, row.commit_name, row.run_uid, row.time, row.reason) for row in rows
        )
