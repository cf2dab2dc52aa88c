"""TensorBoard's runs: a folder per recipe, and in it one per trial and seed, always of the same name.

Scalars of loss, learning rate, norms per group of layers, distributions of gradient norms, the diagnosis
as text, and an entry per training in the table of hyperparameters. What older sessions left there goes.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from pytest_dlcheck.finding import by_recipe
from pytest_dlcheck.reports.contents import Contents
from pytest_dlcheck.reports.courses import curves_of, distributions_of
from pytest_dlcheck.reports.errors import ReportError
from pytest_dlcheck.reports.files import safe_name
from pytest_dlcheck.reports.hyperparameters import entry_of, is_listed
from pytest_dlcheck.reports.tensorboard.diagnosis import diagnosis_of
from pytest_dlcheck.reports.tensorboard.events import Events
from pytest_dlcheck.trace import Trace

_OURS = "events.out.tfevents.*.dlcheck"


def write(contents: Contents, path: Path) -> None:
    """Write all runs.

    Args:
        contents: what a journal holds.
        path: the folder to point ``tensorboard --logdir`` at.

    Raises:
        ReportError: something cannot be written, or a link leads out of the folder.
    """
    _clear(path)
    path.mkdir(parents=True, exist_ok=True)
    start = _start(contents)
    name = f"events.out.tfevents.{int(start)}.dlcheck"
    schema = Events(path / name, start)
    schema.hyperparameters()
    schema.write()
    groups = by_recipe(contents.findings)
    for recipe in dict.fromkeys((*groups, *contents.traces)):
        folder = _made(path, safe_name(recipe))
        about = Events(folder / name, start)
        about.text("diagnosis", diagnosis_of(recipe, groups.get(recipe, [])))
        about.write()
        for trace, run in _named(contents.traces.get(recipe, ())):
            events = Events(_made(path, f"{folder.name}/{run}") / name, start)
            _fill(events, recipe, trace)
            events.write()


def _fill(events: Events, recipe: str, trace: Trace) -> None:
    seconds = trace.series("seconds")
    events.clock(dict(zip(seconds.steps, seconds.values, strict=True)))
    for tag, curve in curves_of(trace).items():
        events.scalars(tag, curve)
    for tag, rows in distributions_of(trace).items():
        events.distribution(tag, rows)
    if is_listed(trace):
        values, results = entry_of(recipe, trace)
        events.run(f"{recipe}, {trace.trial}", values)
        for tag, value in results.items():
            events.scalars(tag, {max(len(trace.series("loss")) - 1, 0): value})


def _named(traces: Iterable[Trace]) -> Iterable[tuple[Trace, str]]:
    """Each trace that has a course over steps, with a name of its own that is the same every time."""
    seen: dict[str, int] = {}
    for trace in traces:
        if not trace.channels:
            continue
        name = safe_name(str(trace.trial))
        seen[name] = seen.get(name, 0) + 1
        yield trace, name if seen[name] == 1 else f"{name} again {seen[name]}"


def _start(contents: Contents) -> float:
    """When the session began, in seconds since 1970; 0 where an older journal does not say."""
    try:
        told = datetime.strptime(str(contents.session["started"]), "%Y-%m-%dT%H:%M:%S%z")
    except (KeyError, ValueError):
        return 0.0
    return told.timestamp()


def _made(root: Path, name: str) -> Path:
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    if not folder.resolve().is_relative_to(root.resolve()):
        raise ReportError(f"{folder} cannot be written: it is a link that leads out of {root}")
    return folder


def _clear(path: Path) -> None:
    """Take away what an older session has written here, and nothing else."""
    left = [file for depth in ("", "*/", "*/*/") for file in path.glob(f"{depth}{_OURS}")]
    for file in left:
        with suppress(OSError):
            file.unlink()
    for folder in sorted({file.parent for file in left} - {path}, reverse=True):
        with suppress(OSError):  # where something else is in it
            folder.rmdir()
