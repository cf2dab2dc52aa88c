"""A child that runs one trial, from its start to its answer or its death; two of them in turns."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from pytest_dlcheck.plugin import orders, start
from pytest_dlcheck.plugin.endings import Death
from pytest_dlcheck.plugin.process import Group, Guard
from pytest_dlcheck.plugin.redirection import Redirection

Progress = Callable[[int, float], None]
STARTING = 120.0
"""Seconds that a child may take to import and to collect, where trials have a time limit."""
GRACE = 1.0
"""Seconds above its time limit at which a trial is ended that did not end itself between two steps."""
LEAVING = 30.0
"""Seconds that a child which has answered may take to tear down and to leave."""
TURNS = "PYTEST_DLCHECK_TURNS"
"""Tells a child its end of a socket, and whether the first turn is its own (``run.bench.turns``)."""


@dataclass(frozen=True)
class End:
    """How a child ended.

    Attributes:
        answer: what it answered; None where it did not.
        death: what is known of its end.
    """

    answer: dict[str, Any] | None
    death: Death


class Running:
    """A child that has been started.

    Args:
        guard: sees to its end where this process cannot.
        order: what it is asked for.
        folder: its working directory.
        progress: told ``(step, loss)`` now and then.
        line: its end of a socket, by which it takes turns with another; None for none.
        first: whether the first turn is its own.
    """

    def __init__(
        self,
        guard: Guard,
        order: orders.Order,
        folder: Path,
        progress: Progress | None,
        line: socket.socket | None = None,
        *,
        first: bool = True,
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="dlcheck-"))
        self._timeout = order.timeout
        self._killed_before = _killed_for_memory()
        self._code: int | None = None
        try:
            order.write(self._folder)
            self._group = self._started(guard, order, folder, line, first=first)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self._watch = _Watch(self._folder, order.timeout, progress)

    def is_over(self) -> bool:
        """Whether it has ended, or its time is up; waits a moment for it."""
        if self._group.has_ended():
            return True
        if self._watch.is_late():
            self._group.ask_for_stacks()
            return True
        return False

    def end(self) -> End:
        """See to it that nothing of it is left, and tell how it ended."""
        try:
            ended = self._group.has_ended(within=0)
            code = self._group.end()
            return End(orders.answered(self._folder), self._death(code if ended else None))
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _started(
        self, guard: Guard, order: orders.Order, folder: Path, line: socket.socket | None, *, first: bool
    ) -> Group:
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # noqa: SLF001
        environment = _environment(self._folder, order.redirection)
        if line is not None:
            environment[TURNS] = f"{line.fileno()} {'first' if first else 'second'}"
        return Group(
            guard,
            [sys.executable, *flags, "-P", "-u", start.__file__, str(self._folder)],
            folder=folder,
            environment=environment,
            output=self._folder / orders.OUTPUT,
            line=line,
        )

    def _death(self, code: int | None) -> Death:
        watch = self._watch
        watch.look()
        return Death(
            code=code,
            begun=watch.begun,
            limit=self._timeout if watch.begun else STARTING,
            step=watch.step,
            seconds=watch.seconds(),
            out_of_memory=_killed_for_memory() > self._killed_before,
            stacks=_stacks(self._folder),
            output=_printed(self._folder / orders.OUTPUT, watch.printed),
        )


def attend(*children: Running) -> tuple[End, ...]:
    """Wait for the end of children that run at the same time; nothing of them is left then."""
    waiting = list(children)
    ends: dict[int, End] = {}
    try:
        while waiting:
            for child in [one for one in waiting if one.is_over()]:
                ends[id(child)] = child.end()
                waiting.remove(child)
    finally:
        for child in waiting:
            child.end()
    return tuple(ends[id(child)] for child in children)


class _Watch:
    """What the parent knows of a child that runs, and whether it should have ended by now."""

    def __init__(self, folder: Path, timeout: float | None, progress: Progress | None) -> None:
        self._folder, self._timeout, self._progress = folder, timeout, progress
        self._diary = orders.Diary(folder)
        self._since = monotonic()
        self._answered = False
        self.begun = False
        self.printed = 0
        self.step: int | None = None

    def look(self) -> None:
        """Read what the child tells."""
        for entry in self._diary.news():
            if entry.get("begun"):
                self.begun, self.printed, self._since = True, entry["printed"], monotonic()
            else:
                self.step = entry["step"]
                if self._progress is not None:
                    self._progress(entry["step"], entry["loss"])
        if not self._answered and (self._folder / orders.ANSWER).exists():
            self._answered, self._since = True, monotonic()

    def seconds(self) -> float:
        """For how long it has been doing what it does."""
        return monotonic() - self._since

    def is_late(self) -> bool:
        """Whether its time is up, for what it is doing."""
        self.look()
        if self._answered:
            limit = LEAVING
        elif self._timeout is None:
            return False
        else:
            limit = self._timeout + GRACE if self.begun else STARTING
        return self.seconds() > limit


def _environment(folder: Path, redirection: Redirection | None) -> dict[str, str]:
    """Ours; with another commit's code, also for what the child starts."""
    hidden = ("PYTEST_XDIST_", "PYTEST_CURRENT_TEST", start.VARIABLE, TURNS)
    plain = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    if redirection is None:
        return plain
    own = {start.VARIABLE: str(folder / start.REDIRECTION)}
    if search := plain.get("PYTHONPATH"):
        places = (redirection.to_base(str(Path(p).absolute())) for p in search.split(os.pathsep) if p)
        own["PYTHONPATH"] = os.pathsep.join(places)
    return {**plain, **own}


def _stacks(folder: Path) -> tuple[str, ...]:
    paths = sorted(folder.glob(f"{orders.STACK}*"))
    return tuple(path.read_text("utf-8", errors="replace") for path in paths)


def _printed(path: Path, since: int) -> str:
    """The end of what it printed: the last few kilobytes are enough to tell."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(since, size - 20_000))
        return file.read().decode("utf-8", errors="replace")


def _killed_for_memory() -> int:
    """How many processes the system has killed for want of memory so far; 0 where it does not tell."""
    try:
        lines = Path("/proc/vmstat").read_text("ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
