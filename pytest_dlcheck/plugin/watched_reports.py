"""Reports of a session without ``--dlcheck``: of what ordinary tests train under the watch.

Under ``--dlcheck`` the conductor tells it beside the recipes. Until a test was watched nothing is
written, so that a session which watches none leaves the reports of others as they are.
"""

from __future__ import annotations

from typing import Any

import pytest

from pytest_dlcheck.finding import Finding
from pytest_dlcheck.plugin import options
from pytest_dlcheck.plugin.reporting import Reporting
from pytest_dlcheck.plugin.summary import write_reports
from pytest_dlcheck.plugin.watched_tests import told_on

NAME = "dlcheck-watched-reports"
_OPTION = "--dlcheck-report"
_NOTHING = (
    f"{_OPTION}: no test was watched, and recipes are collected with --dlcheck: nothing is written"
)


class WatchedReports:
    """Writes what was asked for, from the first watched test on.

    Args:
        config: the session's.

    Raises:
        pytest.UsageError: a kind that the command line names is unknown, or needs what is not installed.
            What the ini file asks for is looked at once there is something to tell.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        if config.getoption(_OPTION):
            options.reports(config)
        self._findings: list[Finding] = []
        self._reporting: Reporting | None = None
        self._error = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Tell what a report tells, whichever process it comes from."""
        for news in told_on(report):
            self._note(news)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Render the reports; one that was asked for and could not be written fails the session."""
        whole = not self._error
        if self._reporting is not None:
            whole = self._reporting.finish(self._findings, int(session.exitstatus))
        if not (whole or session.exitstatus):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write where they were put, or why there is none."""
        if self._reporting is not None:
            write_reports(terminalreporter, self._reporting)
        elif self._error:
            terminalreporter.write_line(f"ERROR: {self._error}", red=True)
        elif any(str(one).startswith(_OPTION) for one in self._config.invocation_params.args):
            terminalreporter.write_line(f"WARNING: {_NOTHING}", yellow=True)

    def _note(self, news: dict[str, Any]) -> None:
        finding = Finding.from_json(news["finding"])
        self._findings.append(finding)
        if self._reporting is None and not self._error:
            try:
                self._reporting = Reporting(self._config, options.reports(self._config))
            except pytest.UsageError as error:
                self._error = str(error)
        if self._reporting is not None:
            self._reporting.tell(finding, news)
