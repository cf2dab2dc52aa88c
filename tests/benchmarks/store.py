"""What a gate's question to a history of a million measures takes, and what change points are worth.

    python tests/benchmarks/store.py [--measures 1000000] [--server]

The history: 20 recipes of 10 measures each, two machines, 5,000 runs on a branch of 5,000 commits (one
in three runs is of another branch). Questions are asked as a session asks them: the history is opened,
and all measures of one recipe are read for its machine and its branch. `--server` asks a PostgreSQL
server of its own too. Budget: 50 ms a question.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import sys
import tempfile
from itertools import islice
from pathlib import Path
from time import perf_counter, process_time

from sqlalchemy import insert, select

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pytest_dlcheck.store.baselines import Question, baseline
from pytest_dlcheck.store.changes import changes
from pytest_dlcheck.store.database import opened
from pytest_dlcheck.store.git import Line
from pytest_dlcheck.store.history import all_series, counts, points
from pytest_dlcheck.store.machine import Machine
from pytest_dlcheck.store.place import place_of
from pytest_dlcheck.store.records import Entry, Series, details_of
from pytest_dlcheck.store.tables import MEASURES, RUNS, SERIES
from pytest_dlcheck.store.writing import append
from pytest_dlcheck.verdict import Measure, Outcome
from tests.store_kit import Server, run, server_binaries

MACHINES = [Machine({"cpu": name, "device": "cpu", "threads": 2}) for name in ("one", "two")]
RECIPES, EACH, QUESTIONS = 20, 10, 200
_CHUNK = 20_000


def batched(rows, size):
    """The rows in lists of a size."""
    while batch := list(islice(rows, size)):
        yield batch


def fill(database, measures):
    """Write a history quickly: the tables' rows themselves. Returns the line of its branch."""
    series = [
        Series(f"tests/test_{r}.py::recipe{r}", "gate", f"measure{m}", "s", MACHINES[r % 2])
        for r in range(RECIPES)
        for m in range(EACH)
    ]
    append(
        database, run("first"), [Entry(s, Outcome.PASSED, Measure(s.measure, 1.0, "s")) for s in series]
    )
    runs = measures // len(series)
    commits = [f"{number:040x}" for number in range(runs)]
    draw = random.Random(0)
    details = details_of(Measure("m", 1.23456789, "s", samples=tuple(draw.random() for _ in range(5))))
    with database.writing() as connection:
        rows = [
            {"uid": f"run{n}", "time": float(n), "commit_name": c, "dirty": False,
             "branch": "main" if n % 3 else "feature", "plugin_version": "1", "torch_version": "2"}
            for n, c in enumerate(commits)
        ]  # fmt: skip
        connection.execute(insert(RUNS), rows)
        query = select(RUNS.c.id, RUNS.c.time).where(RUNS.c.uid != "first")
        times = [tuple(row) for row in connection.execute(query)]
        numbers = list(connection.execute(select(SERIES.c.id)).scalars())
        rows = (
            {"series_id": number, "run_id": run_id, "time": time, "value": draw.random(),
             "outcome": "passed", "details": details}
            for run_id, time in times
            for number in numbers
        )  # fmt: skip
        for batch in batched(rows, _CHUNK):
            connection.execute(insert(MEASURES), batch)
    return Line({c: runs - 1 - n for n, c in enumerate(commits) if n % 3})


def ask(place, line):
    """Seconds of each question: of the clock, and of this process's processor."""
    draw, clock, processor = random.Random(1), [], []
    for _ in range(QUESTIONS):
        number = draw.randrange(RECIPES)
        recipe, machine = f"tests/test_{number}.py::recipe{number}", MACHINES[number % 2]
        question = Question(recipe, machine, "2", "main", line, lambda _: Line())
        began, used = perf_counter(), process_time()
        with opened(place) as database:
            found = baseline(database, question)
        clock.append(perf_counter() - began)
        processor.append(process_time() - used)
        assert len(found.runs) == EACH
        assert {len(runs) for runs in found.runs.values()} == {20}
    return clock, processor


def told(name, seconds):
    quick = sorted(seconds)
    print(
        f"{name}: a question takes {statistics.median(quick) * 1e3:.1f} ms (median of {len(quick)}), "
        f"95 % within {quick[int(0.95 * len(quick))] * 1e3:.1f} ms, at most {quick[-1] * 1e3:.1f} ms"
    )


def measure(place, measures):
    began = perf_counter()
    with opened(place, make=True) as database:
        line = fill(database, measures)
        filled, name = sum(counts(database).values()), "PostgreSQL" if place.path is None else "SQLite"
    print(f"{name}: {filled:,} measures, written in {perf_counter() - began:.0f} s", end="")
    print(f", {place.path.stat().st_size / 1e6:.0f} MB" if place.path else "")
    clock, processor = ask(place, line)
    told("  by the clock", clock)
    told("  by the processor (what others use does not count)", processor)
    entries = [Entry(s, Outcome.PASSED, Measure(s.measure, 1.0, "s")) for s in _series(place)[:10]]
    seconds = []
    for number in range(20):
        began = perf_counter()
        with opened(place, make=True) as database:
            append(database, run(f"late{number}", time=1e9 + number), entries)
        seconds.append(perf_counter() - began)
    print(
        f"  a session's ten measures are written in {statistics.median(seconds) * 1e3:.1f} ms (median)"
    )
    began = perf_counter()
    with opened(place) as database:
        ((number, one), *_) = all_series(database).items()
        found = points(database, number, one)
        changes([point.measure.value for point in found])
    print(f"  {len(found):,} points and their changes of level in {perf_counter() - began:.2f} s")


def _series(place):
    with opened(place) as database:
        return list(all_series(database).values())


def noise(kind, count, sigma, draw):
    """A series in which nothing happens."""
    if kind == "normal":
        steps = [draw.gauss(0, 1) for _ in range(count)]
    elif kind == "heavy tails":  # Student's t, 3 degrees of freedom, of variance 1
        steps = [
            draw.gauss(0, 1) / math.sqrt(sum(draw.gauss(0, 1) ** 2 for _ in range(3)) / 3) / math.sqrt(3)
            for _ in range(count)
        ]
    else:
        steps = [draw.gauss(0, 1) + (8 if draw.random() < 0.05 else 0) for _ in range(count)]
    return [100 * math.exp(sigma * step) for step in steps]


def change_points(repetitions=400):
    draw = random.Random(0)
    print("change points: share of series in which nothing happens that show one")
    for kind in ("normal", "heavy tails", "5 % outliers"):
        shares = []
        for count in (50, 200):
            hits = sum(bool(changes(noise(kind, count, 0.01, draw))) for _ in range(repetitions))
            shares.append(f"{hits / repetitions:.1%} of {count} points")
        print(f"  {kind}: {', '.join(shares)}")
    print("  planted at point 30 of 50, found within one point:")
    for size, sigma in ((0.02, 0.01), (0.03, 0.01), (0.05, 0.01), (0.05, 0.03), (0.1, 0.03)):
        hits = 0
        for _ in range(repetitions):
            values = noise("normal", 50, sigma, draw)
            values[30:] = [value * (1 - size) for value in values[30:]]
            hits += any(abs(change.index - 30) <= 1 for change in changes(values))
        print(f"    {size:.0%} slower at {sigma:.0%} noise: {hits / repetitions:.0%}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measures", type=int, default=1_000_000)
    parser.add_argument("--server", action="store_true")
    options = parser.parse_args()
    change_points()
    with tempfile.TemporaryDirectory() as folder:
        measure(place_of("h.db", Path(folder)), options.measures)
    if options.server:
        binaries = server_binaries()
        assert binaries is not None, "no PostgreSQL server is installed here"
        server = Server(binaries)
        try:
            measure(place_of(server.fresh("bench"), Path()), options.measures)
        finally:
            server.remove()


if __name__ == "__main__":
    main()
