"""The journal of a pytest session: only the process that hears all reports writes it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_dlcheck.reports.journal import Journal, JournalError

DEFAULT_PATH = "dlcheck.jsonl"


class SessionJournal:
    """Writes each recipe once, then its traces and verdicts as they are reached."""

    def __init__(self, path: Path) -> None:
        self._journal = Journal(path)
        self._known: set[str] = set()

    @property
    def error(self) -> str:
        """Why it could not be written to its end; empty as long as all is well."""
        return self._journal.error

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

    def finish(self) -> str:
        """Close it; returns why it is not whole, or nothing."""
        self._journal.close()
        return self._journal.error


def journal_of(reports: Mapping[str, str]) -> SessionJournal | None:
    """The journal that was asked for.

    Raises:
        pytest.UsageError: it cannot be opened.
    """
    if "json" not in reports:
        return None
    try:
        return SessionJournal(Path(reports["json"] or DEFAULT_PATH))
    except JournalError as error:
        raise pytest.UsageError(f"--dlcheck-report json: {error}") from None


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is one of xdist's workers, or a child: another one speaks to the user."""
    return hasattr(config, "workerinput") or is_child(config)


def is_child(config: pytest.Config) -> bool:
    """Whether this process runs an isolated trial."""
    return config.pluginmanager.has_plugin("dlcheck-child")
