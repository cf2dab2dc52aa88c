"""The reports of a pytest session: journal, sinks of others, and what is rendered at its end."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from pytest_dlcheck.finding import Finding
from pytest_dlcheck.plugin.journaling import SessionJournal, open_journal, session_facts
from pytest_dlcheck.reports import kinds
from pytest_dlcheck.reports.annotations import commands_here
from pytest_dlcheck.reports.errors import ReportError
from pytest_dlcheck.reports.journal import JournalError
from pytest_dlcheck.reports.kinds import JOURNAL, Request
from pytest_dlcheck.reports.secrets import masked
from pytest_dlcheck.reports.text import one_line

if TYPE_CHECKING:
    from pytest_dlcheck.reports.html.history import History


class Reporting:
    """Tells whoever wants to know: only in the process that hears all reports.

    Args:
        config: the session's.
        requests: the reports that are asked for.

    Raises:
        pytest.UsageError: one of them cannot be put where it is asked for.
    """

    def __init__(self, config: pytest.Config, requests: Sequence[Request]) -> None:
        self._config = config
        self._journal: SessionJournal | None = None
        self._rendered = tuple(dict.fromkeys(r for r in requests if r.kind != JOURNAL))
        self._session = session_facts(config)
        self._silenced: set[str] = set()
        self.history: Sequence[History] = ()
        """What gates measured over time, for reports that draw it."""
        self.errors: list[str] = []
        """What was asked for and could not be written, a line each."""
        self.warnings: list[str] = []
        """What else is to be known, a line each."""
        self.commands: list[str] = []
        """What to print for GitHub, a line each."""
        self.lines: list[str] = []
        """Where what was asked for can be found, a line each."""
        self._prepare()
        if requests:
            where = next((r.where for r in requests if r.kind == JOURNAL), None)
            self._journal, warning = open_journal(config, where)
            self.warnings += [warning] if warning else []

    def begin(self, place: Mapping[str, Any]) -> None:
        """A check of a recipe has its turn now."""
        if self._journal is not None:
            self._journal.begin(place)

    def take_turn(self, turn: Mapping[str, Any], outcome: str) -> None:
        """A check of a recipe has had its fixtures, or was ended before anything could be judged.

        Args:
            turn: its ``place``, and ``because`` of what it was ended, if it was.
            outcome: pytest's.
        """
        if self._journal is None:
            return
        self._journal.begin(turn["place"])
        if "because" in turn:
            self._journal.leave(turn["place"], outcome, turn["because"])

    def tell(self, finding: Finding, news: Mapping[str, Any]) -> None:
        """A check was concluded."""
        if self._journal is not None:
            self._journal.tell(news)
        self._call("pytest_dlcheck_verdict", finding=finding)

    def finish(self, findings: Iterable[Finding], exit_code: int) -> bool:
        """Render what was asked for.

        Args:
            findings: what was concluded.
            exit_code: pytest's, as far as it is known.

        Returns:
            Whether all of it could be written.
        """
        session = dict(self._session)
        self._call("pytest_dlcheck_run", findings=tuple(findings), session=session)
        if self._journal is not None:
            self._render(self._journal, exit_code)
        return not self.errors

    def _prepare(self) -> None:
        for request in self._rendered:
            try:
                kinds.prepare(request, self._config.invocation_params.dir)
            except ReportError as error:
                raise pytest.UsageError(f"--dlcheck-report {request}: {error}") from None

    def _render(self, journal: SessionJournal, exit_code: int) -> None:
        try:
            contents = journal.finish(exit_code)
        except JournalError as error:
            self.errors.append(str(error))
            return
        contents.history = self.history
        if journal.error:
            self.errors.append(journal.error)
        if any(request.kind == "markdown" for request in self._rendered):
            self.commands += commands_here(contents, self._config.rootpath)
        for request in self._rendered:
            try:
                where = kinds.write(request, contents, self._config.invocation_params.dir)
            except ReportError as error:
                self.errors.append(f"--dlcheck-report {request}: {error}")
            except Exception as error:  # noqa: BLE001  a bug of one report must not take the others along
                told = f"pytest-dlcheck failed here, please report it: {error!r}"
                self.errors.append(f"--dlcheck-report {request}: {told}")
            else:
                self.lines.append(f"{request.kind} report: {self._shown(where)}")

    def _shown(self, where: str) -> str:
        """As short as it can be told from where pytest was called."""
        return where.removeprefix(f"{self._config.invocation_params.dir}{os.sep}")

    def _call(self, name: str, **told: Any) -> None:
        """Tell the implementations of a hook, each by itself; one that raises is warned of once."""
        for sink in getattr(self._config.hook, name).get_hookimpls():
            given = {"config": self._config, **told}
            try:
                sink.function(**{argument: given[argument] for argument in sink.argnames})
            except Exception as error:  # noqa: BLE001  a tracker that is down changes no verdict
                key = f"{name} in {sink.plugin_name}"
                if key not in self._silenced:
                    self._silenced.add(key)
                    # No warning of Python's: a suite that turns these into errors would end by it.
                    text = masked(f"{key} raised {type(error).__name__}: {error}")
                    self.warnings.append(one_line(text))
