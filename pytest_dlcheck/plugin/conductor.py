"""What lives only under ``--dlcheck``: the examinations of a session, and what is told at its end."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from pytest_dlcheck.finding import Finding
from pytest_dlcheck.plugin.items import CheckItem
from pytest_dlcheck.plugin.policies import check_command_line, check_device
from pytest_dlcheck.plugin.progress import ProgressLine
from pytest_dlcheck.plugin.summary import write_summary
from pytest_dlcheck.session import Examination, Subject, all_checks


class Conductor:
    """Keeps one examination per recipe variant, and collects findings from reports.

    Findings travel as plain data on the reports, so that they arrive from workers too.
    """

    def __init__(self, config: pytest.Config) -> None:
        check_command_line(config)
        self._config = config
        self._examinations: dict[str, Examination] = {}
        self._selected: dict[str, list[str]] = {}
        self._findings: list[Finding] = []
        self._items = 0
        self._progress = ProgressLine(config)

    def examination(self, item: CheckItem) -> Examination:
        """The examination of the item's variant, by the checks that were selected of it."""
        key = item.variant.nodeid
        if key not in self._examinations:
            checks = tuple(self._selected.get(key, [item.check]))
            subject = Subject(item.subject.name, item.subject.policy, checks, item.tag.rebuild)
            self._examinations[key] = Examination(subject, self._progress.tell)
        return self._examinations[key]

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note which checks are left of each recipe after all deselection, causes first."""
        for item in session.items:
            if isinstance(item, CheckItem):
                self._items += 1
                self._selected.setdefault(item.variant.nodeid, []).append(item.check)
        if self._items:
            check_device(self._config)
        for key, names in self._selected.items():
            order = {name: i for i, name in enumerate(all_checks())}
            self._selected[key] = sorted(names, key=order.__getitem__)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Put the finding on the report, as plain data and as JUnit properties."""
        if isinstance(item, CheckItem) and call.when == "call":
            self._progress.clear()
            item.properties()
        report = yield
        if isinstance(item, CheckItem) and call.when == "call" and item.finding is not None:
            report.dlcheck = item.finding.to_json()  # type: ignore[attr-defined]
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect the finding from a report, whichever process it comes from."""
        data: dict[str, Any] | None = getattr(report, "dlcheck", None)
        if data is not None:
            self._findings.append(Finding.from_json(data))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write the table, the causes, what stays open, or how to begin."""
        write_summary(terminalreporter, self._findings, items=self._items)
