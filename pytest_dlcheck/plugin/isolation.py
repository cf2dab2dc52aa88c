"""Trials in processes of their own, so that a hang, a crash or a kill ends a trial and not the session.

The child is a pytest that collects the one recipe again, with its parent's command line, because
fixtures and test modules cannot be pickled.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from pytest_dlcheck.plan import PlannedTrial
from pytest_dlcheck.plugin import options, orders, start
from pytest_dlcheck.plugin.comparable import incomparable, refusal
from pytest_dlcheck.plugin.endings import Death, ending_of
from pytest_dlcheck.plugin.process import Group, Guard
from pytest_dlcheck.plugin.redirection import Redirection
from pytest_dlcheck.plugin.worktree import Worktree
from pytest_dlcheck.trace import Trace
from pytest_dlcheck.trial import BENCHES

if TYPE_CHECKING:
    from pytest_dlcheck.plugin.items import CheckItem

Progress = Callable[[int, float], None]
STARTING = 120.0
"""Seconds that a child may take to import and to collect, where trials have a time limit."""
GRACE = 1.0
"""Seconds above its time limit at which a trial is ended that did not end itself between two steps."""
LEAVING = 30.0
"""Seconds that a child which has answered may take to tear down and to leave."""


class Isolation:
    """Runs trials in children of this pytest.

    Args:
        config: its configuration, which its children will have too.
        worktree: the other commit, for trials of its code; None where there is none.
    """

    def __init__(self, config: pytest.Config, worktree: Worktree | None = None) -> None:
        self._config, self._worktree = config, worktree
        self._refused: dict[str, str] = {}
        self._guard = Guard()
        self._path = config.stash.get(options.SEARCH_PATH, tuple(map(str, sys.path)))

    def run(
        self, item: CheckItem, planned: PlannedTrial, timeout: float | None, progress: Progress | None
    ) -> Trace:
        """Run one trial of the recipe that an item belongs to.

        Args:
            item: any item of the recipe's variant.
            planned: the trial, and what it must record.
            timeout: seconds that it may take, fixtures and factory included; then the child is killed.
            progress: told ``(step, loss)`` now and then.

        Returns:
            Its trace; where the child died or was killed, one that ended so.

        Raises:
            BaseException: what the child's fixtures or factory raised to speak to pytest: a skip, an
                expected failure, a failure, an exit.
        """
        if not planned.trial.revision:
            return self._ran(item, planned, timeout, progress)
        assert self._worktree is not None
        key = item.variant.nodeid
        if key not in self._refused:
            trace = self._ran(item, planned, timeout, progress)
            why = refusal(trace, self._worktree)
            if not why:
                return trace
            self._refused[key] = why
        return incomparable(planned, self._refused[key])

    def _ran(
        self, item: CheckItem, planned: PlannedTrial, timeout: float | None, progress: Progress | None
    ) -> Trace:
        folder = Path(tempfile.mkdtemp(prefix="dlcheck-"))
        try:
            order = self._order(item, planned, timeout)
            order.write(folder)
            death = self._attend(folder, order.redirection, timeout, progress)
            answer = orders.answered(folder)
            if answer is None:
                ending = ending_of(death, self._config.rootpath)
                return Trace(planned.trial, ending, seconds=death.seconds)
            return _trace(answer)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Let go of what is kept from trial to trial."""
        self._guard.dismiss()

    def _order(self, item: CheckItem, planned: PlannedTrial, timeout: float | None) -> orders.Order:
        seed = getattr(self._config.option, "randomly_seed", None)
        other = self._worktree if planned.trial.revision else None
        return orders.Order(
            node=item.nodeid,
            file=str(item.path),
            trial=planned.trial,
            wanted=planned.wanted,
            timeout=timeout,
            arguments=tuple(map(str, self._config.invocation_params.args)),
            path=self._path,
            options={"randomly_seed": seed} if isinstance(seed, int) else {},
            workers=0 if planned.trial.kind in BENCHES else _workers(),
            redirection=None if other is None else other.redirection(item.path),
        )

    def _attend(
        self,
        folder: Path,
        redirection: Redirection | None,
        timeout: float | None,
        progress: Progress | None,
    ) -> Death:
        """Wait for the child's end, and see to it; nothing of it is left when this returns."""
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # noqa: SLF001
        killed_before = _killed_for_memory()
        group = Group(
            self._guard,
            [sys.executable, *flags, "-P", "-u", start.__file__, str(folder)],
            folder=self._config.invocation_params.dir,
            environment=_environment(folder, redirection),
            output=folder / orders.OUTPUT,
        )
        watch = _Watch(folder, timeout, progress)
        try:
            while not group.has_ended():
                if watch.is_late():
                    group.ask_for_stacks()
                    break
            ended = group.has_ended(within=0)
        finally:
            code = group.end()
        watch.look()
        return Death(
            code=code if ended else None,
            begun=watch.begun,
            limit=timeout if watch.begun else STARTING,
            step=watch.step,
            seconds=watch.seconds(),
            out_of_memory=_killed_for_memory() > killed_before,
            stacks=_stacks(folder),
            output=_printed(folder / orders.OUTPUT, watch.printed),
        )


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


def _workers() -> int:
    """How many test processes share the machine; what takes the time has it for itself."""
    return int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0"))


def _trace(answer: dict[str, Any]) -> Trace:
    if "skipped" in answer:
        raise pytest.skip.Exception(answer["skipped"], _use_item_location=True)
    if "xfailed" in answer:
        pytest.xfail(answer["xfailed"])
    if "failed" in answer:
        pytest.fail(answer["failed"], pytrace=False)
    if "interrupted" in answer:
        if answer["exit"] is None:
            raise KeyboardInterrupt
        pytest.exit(answer["exit"])
    if "teardown" in answer:
        text = f"tearing down after an isolated trial failed:\n{answer['teardown']}"
        warnings.warn(pytest.PytestWarning(text), stacklevel=2)
    return Trace.from_json(answer["trace"])


def _environment(folder: Path, redirection: Redirection | None) -> dict[str, str]:
    """Ours; with another commit's code, also for what the child starts."""
    hidden = ("PYTEST_XDIST_", "PYTEST_CURRENT_TEST", start.VARIABLE)
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
