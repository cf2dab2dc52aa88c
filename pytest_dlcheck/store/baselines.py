"""What a gate is held against: a question to the history. Nothing is moved but by acceptance."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from pytest_dlcheck.baseline import Baseline, Past
from pytest_dlcheck.store.database import Database
from pytest_dlcheck.store.git import Line
from pytest_dlcheck.store.machine import Machine
from pytest_dlcheck.store.records import ACCEPTED_ONES, measure_from
from pytest_dlcheck.store.tables import ACCEPTED, MACHINES, MEASURES, RUNS, SERIES, TRACES
from pytest_dlcheck.verdict import Outcome

WINDOW = 20
"""Runs of a baseline, at most (``field.md``: the last 20 of the same machine)."""
_PAGES = (40, 400, 5_000)
"""How many runs of a series are looked at to find them, of any branch: few at first, most need few."""
_TRACES = 1_000
_LARGEST = 256 * 2**20
"""Bytes that a stored trace may unfold to."""
_UNFIT = (str(Outcome.FAILED), str(Outcome.ERRORED))


@dataclass(frozen=True, slots=True)
class Question:
    """What a gate wants to know.

    Attributes:
        recipe: the node id of the recipe's variant.
        machine: the machine that it runs on now.
        torch_version: with which traces are to agree.
        name: ``"accepted"``, or the reference whose line counts.
        line: the commits of that reference; empty for ``"accepted"``.
        line_of: gives the commits before another commit.
    """

    recipe: str
    machine: Machine
    torch_version: str
    name: str
    line: Line
    line_of: Callable[[str], Line]


def baseline(database: Database, question: Question) -> Baseline:
    """The earlier runs that a recipe is held against.

    A run counts if its commit is on the line that is asked for, its tree was clean and its machine of
    the same kind; a measure that failed its gate counts only where its commit was accepted, so that a
    regression never becomes its own baseline. Of what was measured before the last accepted commit of
    the line nothing counts.

    Raises:
        StoreError: the history cannot be read.
    """
    if question.name != ACCEPTED_ONES and not question.line.ages:
        return Baseline(question.name, notice=question.line.trouble)
    with database.reading() as connection:
        window = _window(connection, question)
        if window is None:
            return Baseline(question.name, notice=_NEVER_ACCEPTED)
        runs = _runs(connection, question, window)
        traces = _traces(connection, question, window)
        notice = "" if runs or traces else _why_nothing(connection, question)
    return Baseline(question.name, runs, traces, notice)


_NEVER_ACCEPTED = "no run of it was accepted yet: dlcheck accept RECIPE --reason TEXT"


@dataclass(frozen=True, slots=True)
class _Window:
    """Which runs count.

    Attributes:
        ages: commit -> how many commits of the line are newer.
        accepted: commits whose measures count whatever became of them.
        uids: runs that count whatever their commit.
    """

    ages: dict[str, int]
    accepted: Collection[str] = ()
    uids: Collection[str] = ()

    def holds(self, row: Any) -> bool:
        if row.uid in self.uids:
            return True
        return not row.dirty and row.commit_name in self.ages

    def is_fit(self, row: Any) -> bool:
        known = row.commit_name in self.accepted or row.uid in self.uids
        return self.holds(row) and (known or row.outcome not in _UNFIT)


def _window(connection: Connection, question: Question) -> _Window | None:
    """None where nothing was ever accepted, and that is what was asked for."""
    rows = connection.execute(
        select(ACCEPTED.c.commit_name, ACCEPTED.c.run_uid)
        .where(ACCEPTED.c.recipe == question.recipe)
        .order_by(ACCEPTED.c.time.desc(), ACCEPTED.c.id.desc())
    ).all()
    if question.name == ACCEPTED_ONES:
        if not rows:
            return None
        commit, uid = rows[0]
        return _Window({commit: 0}, (commit,)) if commit else _Window({}, uids=(uid,))
    ages = dict(question.line.ages)
    for commit, _ in rows:
        if commit in ages:
            before = question.line_of(commit).ages.keys() - {commit}
            return _Window({c: age for c, age in ages.items() if c not in before}, (commit,))
    return _Window(ages)


def _runs(connection: Connection, question: Question, window: _Window) -> dict[str, tuple[Past, ...]]:
    series = connection.execute(
        select(SERIES.c.id, SERIES.c.measure, SERIES.c.unit)
        .join(MACHINES, MACHINES.c.id == SERIES.c.machine_id)
        .where(SERIES.c.recipe == question.recipe, MACHINES.c.key == question.machine.key)
        .order_by(SERIES.c.id)
    ).all()
    found: dict[str, tuple[Past, ...]] = {}
    for number, measure, unit in series:
        fit = [row for _, row in zip(range(WINDOW), _fit(connection, number, window), strict=False)]
        # By the line's own order first, which a clock that was wrong cannot upset.
        fit.sort(key=lambda row: (-window.ages.get(row.commit_name, 0), row.time, row.run_id))
        past = tuple(_past(row, measure, unit) for row in fit)
        if past and past[-1].time > max((p.time for p in found.get(measure, ())), default=float("-inf")):
            found[measure] = past
    return found


def _fit(connection: Connection, series: int, window: _Window) -> Iterator[Any]:
    """The runs that count, newest first."""
    query = (
        select(
            MEASURES.c.run_id,
            MEASURES.c.time,
            MEASURES.c.outcome,
            MEASURES.c.details,
            RUNS.c.uid,
            RUNS.c.commit_name,
            RUNS.c.dirty,
        )
        .join(RUNS, RUNS.c.id == MEASURES.c.run_id)
        .where(MEASURES.c.series_id == series)
        .order_by(MEASURES.c.time.desc(), MEASURES.c.run_id.desc())
    )
    seen = 0
    for page in _PAGES:
        rows: list[Any] = list(connection.execute(query.limit(page).offset(seen)))
        yield from (row for row in rows if window.is_fit(row))
        seen += page
        if len(rows) < page:
            return


def _past(row: Any, measure: str, unit: str) -> Past:
    known = measure_from(measure, unit, row.details)
    return Past(row.commit_name, row.time, known.value, known.samples)


def _traces(connection: Connection, question: Question, window: _Window) -> dict[int, dict[str, Any]]:
    """The newest training of each seed, of the same PyTorch, with its commit beside what it recorded."""
    query = (
        select(TRACES.c.id, TRACES.c.seed, RUNS.c.uid, RUNS.c.commit_name, RUNS.c.dirty, RUNS.c.time)
        .join(RUNS, RUNS.c.id == TRACES.c.run_id)
        .join(MACHINES, MACHINES.c.id == TRACES.c.machine_id)
        .where(
            TRACES.c.recipe == question.recipe,
            MACHINES.c.key == question.machine.key,
            RUNS.c.torch_version == question.torch_version,
        )
        .order_by(RUNS.c.time.desc(), TRACES.c.id.desc())
        .limit(_TRACES)
    )
    rows: list[Any] = [row for row in connection.execute(query) if window.holds(row)]
    newest: dict[int, Any] = {}
    for row in sorted(rows, key=lambda row: window.ages.get(row.commit_name, 0)):
        newest.setdefault(row.seed, row)
    return {seed: _trace(connection, row) for seed, row in newest.items()}


def _trace(connection: Connection, row: Any) -> dict[str, Any]:
    data = connection.execute(select(TRACES.c.trace).where(TRACES.c.id == row.id)).scalar_one()
    text = zlib.decompressobj().decompress(data, _LARGEST)
    return {**json.loads(text), "commit": row.commit_name}


def _why_nothing(connection: Connection, question: Question) -> str:
    name = question.name
    elsewhere = [
        Machine(json.loads(facts))
        for facts in connection.execute(
            select(MACHINES.c.facts)
            .join(SERIES, SERIES.c.machine_id == MACHINES.c.id)
            .where(SERIES.c.recipe == question.recipe)
            .distinct()
        ).scalars()
    ]
    if not elsewhere:
        return f"no run of this recipe was recorded yet, neither on {name} nor elsewhere"
    if all(machine.key != question.machine.key for machine in elsewhere):
        nearest = min(elsewhere, key=lambda machine: len(machine.differs(question.machine)))
        return (
            f"it was measured on machines of other kinds only: {nearest.differs(question.machine)} here"
        )
    line = question.line
    if line.shallow:
        return (
            f"no run of {name}'s last {len(line.ages)} commits was recorded, and this clone ends there: "
            "fetch the whole history (git fetch --unshallow; fetch-depth: 0)"
        )
    what = "of the accepted commit" if name == ACCEPTED_ONES else f"of a clean commit of {name}"
    return f"no run {what} that passed was recorded on this kind of machine yet"
