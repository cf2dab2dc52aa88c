"""The journal of a pytest session: only the process that hears all reports writes it."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest

from pytest_dlcheck.plugin import options
from pytest_dlcheck.reports.contents import Contents
from pytest_dlcheck.reports.journal import Journal, JournalError

DEFAULT_PATH = "dlcheck.jsonl"
"""Where the journal stands when it is asked for without a place, from where pytest was called."""
OWN_PATH = ".dlcheck/journal.jsonl"
"""Where it stands when only other reports are asked for, from the root folder."""

_IGNORED = "# made by pytest-dlcheck\n*\n"


class SessionJournal:
    """Writes each recipe once, then its traces and verdicts as they are reached.

    Args:
        journal: where they are written.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._known: set[str] = set()
        self._begun: set[tuple[str, str]] = set()

    @property
    def error(self) -> str:
        """Why it could not be written to its end; empty as long as all is well."""
        return self._journal.error

    def begin(self, place: Mapping[str, Any]) -> None:
        """A check of a recipe has its turn now.

        Args:
            place: its ``recipe``, ``check``, ``file`` and ``line``.
        """
        key = (place["recipe"], place["check"])
        if key not in self._begun:
            self._begun.add(key)
            self._journal.write("begun", place)

    def leave(self, place: Mapping[str, Any], outcome: str, because: str) -> None:
        """A check ended before anything could be judged: in its fixtures, or by a skip.

        Args:
            place: its ``recipe``, ``check``, ``file`` and ``line``.
            outcome: ``skipped`` or ``failed``.
            because: the reason, in one line.
        """
        told = {"recipe": place["recipe"], "check": place["check"]}
        self._journal.write("unjudged", {**told, "outcome": outcome, "because": because})

    def tell(self, news: Mapping[str, Any]) -> None:
        """Write what an item had to tell."""
        asked = news.get("asked")
        recipe = news["finding"]["recipe"]
        if asked is not None and recipe not in self._known:
            self._known.add(recipe)
            self._journal.write("recipe", asked)
        for trace in news.get("traces", ()):
            self._journal.write("trace", {"recipe": recipe, "trace": trace})
        self._journal.write("verdict", {"finding": news["finding"]})
        if "measured" in news:
            check = news["finding"]["verdict"]["check"]
            kept = {key: told for key, told in news["measured"].items() if key != "traces"}
            self._journal.write("measured", {"recipe": recipe, "check": check, "measured": kept})

    def finish(self, exit_code: int) -> Contents:
        """Write its end and close it.

        Args:
            exit_code: pytest's, as far as it is known.

        Returns:
            All that was told, also what could not be written.

        Raises:
            JournalError: it cannot be read back.
        """
        try:
            self._journal.write("end", {"exit_code": exit_code})
            return self._journal.contents()
        finally:
            self._journal.close()


def open_journal(config: pytest.Config, where: str | None) -> tuple[SessionJournal, str]:
    """The journal of a session, which holds it in memory where its own place takes none.

    Args:
        config: the session's.
        where: the place that was asked for, or empty for the default one; None where none was asked for.

    Returns:
        The journal, and a warning, or nothing.

    Raises:
        pytest.UsageError: it was asked for, and cannot be opened.
    """
    session = session_facts(config)
    if where is not None:
        try:
            path = config.invocation_params.dir / Path(where or DEFAULT_PATH)
            return SessionJournal(Journal(path, session)), ""
        except JournalError as error:
            raise pytest.UsageError(f"--dlcheck-report json: {error}") from None
    path = config.rootpath / OWN_PATH
    try:
        if not path.parent.exists():
            path.parent.mkdir(exist_ok=True)  # another session may be as far as we are
            (path.parent / ".gitignore").write_text(_IGNORED, encoding="ascii")
        return SessionJournal(Journal(path, session)), ""
    except (OSError, JournalError) as error:
        told = f"{error}; reports are made of what is in memory, and cannot be made again later"
        return SessionJournal(Journal(None, session)), told


def session_facts(config: pytest.Config) -> dict[str, Any]:
    """What is told of the session, and nothing else: no host, no user, no arguments, no environment."""
    return {
        "started": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "python": platform.python_version(),
        "torch": _version("torch"),
        "pytest_dlcheck": _version("pytest-dlcheck"),
        "platform": f"{sys.platform} {platform.machine()}".strip(),
        "device": options.device(config),
    }


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is one of xdist's workers, or a child: another one speaks to the user."""
    return hasattr(config, "workerinput") or is_child(config)


def is_child(config: pytest.Config) -> bool:
    """Whether this process runs an isolated trial."""
    return config.pluginmanager.has_plugin("dlcheck-child")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
