"""Among test processes of one machine: what takes the time runs while no other test does.

By locks on files, which the system lets go of when a process dies. No scheduling is done here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from time import sleep
from typing import IO, Any

import pytest

from pytest_dlcheck.plugin.items import CheckItem
from pytest_dlcheck.session import timed_checks

_POLL = 0.02
"""Seconds between two tries: a wait that a signal can end."""


def folder_of(run: str) -> Path:
    """Where the locks of a test run lie.

    Args:
        run: xdist's identifier, which all of its processes know.
    """
    return Path(tempfile.gettempdir()) / f"dlcheck-solitude-{run}"


class Solitude:
    """In a worker: an item that takes the time waits for all others to be between two tests.

    Args:
        run: xdist's identifier of the test run.
    """

    def __init__(self, run: str) -> None:
        self._folder = folder_of(run)
        self._needed = False

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note whether there is anything to wait for; every worker has collected the same."""
        self._needed = any(map(is_timed, session.items))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Run it together with others, or alone."""
        if not self._needed:
            return (yield)
        with _admitted(self._folder, alone=is_timed(item)):
            return (yield)


def is_timed(item: pytest.Item) -> bool:
    """Whether it takes the time."""
    return isinstance(item, CheckItem) and item.check in timed_checks()


@contextmanager
def _admitted(folder: Path, *, alone: bool) -> Iterator[None]:
    """Be in the room, with others or alone.

    Everyone passes the door on the way in. Whoever wants to be alone keeps it shut while waiting for
    the room to become empty, so that newcomers cannot keep it full.
    """
    try:
        locks: Any = import_module("fcntl")
    except ImportError:  # Windows: they run last, but not alone
        yield
        return
    folder.mkdir(exist_ok=True)
    kind = locks.LOCK_EX if alone else locks.LOCK_SH
    with (folder / "door").open("a+b") as door, (folder / "room").open("a+b") as room:
        _take(locks, door, kind)
        _take(locks, room, kind)
        locks.lockf(door, locks.LOCK_UN)
        yield


def _take(locks: Any, file: IO[bytes], kind: int) -> None:
    while True:
        try:
            locks.lockf(file, kind | locks.LOCK_NB)
        except OSError:
            sleep(_POLL)
        else:
            return
