"""Trials in processes of their own, so that a hang, a crash or a kill ends a trial and not the session.

The child is a pytest that collects the one recipe again, with its parent's command line, because
fixtures and test modules cannot be pickled.
"""

from __future__ import annotations

import os
import sys
import warnings
from dataclasses import replace
from socket import socket, socketpair
from typing import TYPE_CHECKING, Any

import pytest

from pytest_dlcheck.plan import PlannedTrial
from pytest_dlcheck.plugin import options, orders
from pytest_dlcheck.plugin.comparable import incomparable, refusal
from pytest_dlcheck.plugin.endings import ending_of
from pytest_dlcheck.plugin.process import Guard
from pytest_dlcheck.plugin.running import End, Progress, Running, attend
from pytest_dlcheck.plugin.worktree import Worktree
from pytest_dlcheck.trace import Trace
from pytest_dlcheck.trial import BENCHES

if TYPE_CHECKING:
    from pytest_dlcheck.plugin.items import CheckItem

_ERRORS = ("raised", "out_of_memory")
TIMES = frozenset({"step_seconds", "call_seconds"})
"""What is taken in turns with the other commit's."""


class Isolation:
    """Runs trials in children of this pytest.

    Args:
        config: its configuration, which its children will have too.
        worktree: the other commit, for trials of its code; None where there is none.
    """

    def __init__(self, config: pytest.Config, worktree: Worktree | None = None) -> None:
        self._config, self._worktree = config, worktree
        self._refused: dict[str, str] = {}
        self._apart: set[str] = set()
        self._waiting: dict[tuple[str, PlannedTrial], End] = {}
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
        """The trial alone, or together with its counterpart, which will be asked for next."""
        if (waiting := self._waiting.pop((item.variant.nodeid, planned), None)) is not None:
            return self._read(waiting, planned)
        other = self._counterpart(item, planned)
        if other is not None:
            ours, theirs = self._in_turns(item, planned, other, timeout, progress)
            if _is_of_use(ours) and _is_of_use(theirs):
                self._waiting = {(item.variant.nodeid, other): theirs}
                return self._read(ours, planned)
            self._apart.add(item.variant.nodeid)  # it may be that two hinder each other
        (end,) = attend(self._start(item, planned, timeout, progress))
        return self._read(end, planned)

    def _counterpart(self, item: CheckItem, planned: PlannedTrial) -> PlannedTrial | None:
        """The same of the other commit, or of this, where the two can take the time in turns."""
        trial = planned.trial
        if self._worktree is None or item.variant.nodeid in self._apart | self._refused.keys():
            return None
        if trial.kind not in BENCHES or not planned.wanted & TIMES:
            return None
        if trial.device != "cpu" or sys.platform == "win32":  # one GPU would serve both at once
            return None
        return replace(
            planned, trial=replace(trial, revision="" if trial.revision else self._worktree.commit)
        )

    def _in_turns(
        self,
        item: CheckItem,
        planned: PlannedTrial,
        other: PlannedTrial,
        timeout: float | None,
        progress: Progress | None,
    ) -> tuple[End, End]:
        """Both at the same time, joined by a socket."""
        mine, its = socketpair()
        limit = None if timeout is None else 2 * timeout  # each waits for the other's turns
        with mine, its:
            ours = self._start(item, planned, limit, progress, mine)
            try:
                theirs = self._start(item, other, limit, None, its, first=False)
            except BaseException:
                ours.end()
                raise
        one, other_one = attend(ours, theirs)
        return one, other_one

    def _start(
        self,
        item: CheckItem,
        planned: PlannedTrial,
        timeout: float | None,
        progress: Progress | None,
        line: socket | None = None,
        *,
        first: bool = True,
    ) -> Running:
        order, folder = self._order(item, planned, timeout), self._config.invocation_params.dir
        return Running(self._guard, order, folder, progress, line, first=first)

    def _read(self, end: End, planned: PlannedTrial) -> Trace:
        if end.answer is None:
            ending = ending_of(end.death, self._config.rootpath)
            return Trace(planned.trial, ending, seconds=end.death.seconds)
        return _trace(end.answer)

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


def _is_of_use(end: End) -> bool:
    """Whether a child has answered, and not with an error that may come of running beside another."""
    trace = {} if end.answer is None else end.answer.get("trace", {})
    return end.answer is not None and trace.get("ending", {}).get("kind") not in _ERRORS


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
