"""Which stored trainings no one needs any more: large as they are, only the newest are kept."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Select, and_, exists, func, or_, select, true

from pytest_dlcheck.store.tables import ACCEPTED, RUNS, TRACES

TRACES_KEPT = 3
"""Traces that are kept of each recipe, machine, seed and branch: one is compared with, the newest."""


def superseded(recipes: Collection[str] | None = None) -> Select[tuple[int]]:
    """The numbers of the traces that newer ones have replaced, and that were not accepted.

    Args:
        recipes: node ids; None for all.
    """
    ranked = (
        select(
            TRACES.c.id,
            is_accepted(TRACES.c.recipe).label("accepted"),
            func.row_number()
            .over(
                partition_by=(TRACES.c.recipe, TRACES.c.machine_id, TRACES.c.seed, RUNS.c.branch),
                order_by=(RUNS.c.time.desc(), TRACES.c.id.desc()),
            )
            .label("rank"),
        )
        .join(RUNS, RUNS.c.id == TRACES.c.run_id)
        .where(true() if recipes is None else TRACES.c.recipe.in_(recipes))
        .subquery()
    )
    return select(ranked.c.id).where(ranked.c.rank > TRACES_KEPT, ~ranked.c.accepted)


def is_accepted(recipe: Any) -> Any:
    """Whether a run's commit, or the run itself, was accepted for a recipe: a condition on the runs."""
    commit = and_(ACCEPTED.c.commit_name == RUNS.c.commit_name, ACCEPTED.c.commit_name != "")
    return exists(
        select(ACCEPTED.c.id).where(
            ACCEPTED.c.recipe == recipe, or_(commit, ACCEPTED.c.run_uid == RUNS.c.uid)
        )
    )
