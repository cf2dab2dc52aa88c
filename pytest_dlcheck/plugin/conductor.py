"""What lives only under ``--dlcheck``: the examinations of a session, and what is told at its end."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Generator
from functools import partial
from typing import Any

import pytest

from pytest_dlcheck.finding import Finding, ruled
from pytest_dlcheck.plugin import options
from pytest_dlcheck.plugin.against import worktree_of
from pytest_dlcheck.plugin.attachments import attach, check_attachments
from pytest_dlcheck.plugin.history import History
from pytest_dlcheck.plugin.isolation import Isolation
from pytest_dlcheck.plugin.items import CheckItem, news_of, turn_of
from pytest_dlcheck.plugin.journaling import is_child, is_worker
from pytest_dlcheck.plugin.policies import check_command_line, check_device
from pytest_dlcheck.plugin.progress import ProgressLine
from pytest_dlcheck.plugin.reporting import Reporting
from pytest_dlcheck.plugin.summary import write_reports, write_summary
from pytest_dlcheck.plugin.watched_tests import told_on
from pytest_dlcheck.reports.contents import interrupted
from pytest_dlcheck.reports.secrets import masked_finding
from pytest_dlcheck.session import Examination, Subject, all_checks, share_processors


class Conductor:
    """Keeps one examination per recipe variant, and collects findings from reports.

    Findings travel as plain data on the reports, so that they arrive from workers too.
    """

    def __init__(self, config: pytest.Config) -> None:
        check_command_line(config)
        self._config = config
        self._examinations: dict[str, Examination] = {}
        self._variants: dict[str, CheckItem] = {}
        self._selected: dict[str, list[str]] = {}
        self._findings: list[Finding] = []
        self._told: set[tuple[str, str]] = set()
        self._names: Counter[str] = Counter()
        self._items = 0
        self._in_flight: CheckItem | None = None
        self._progress = ProgressLine(config)
        self._reports = options.reports(config)
        self._isolates = options.isolates(config) and not is_child(config)
        self._worktree = worktree_of(config)
        self._isolation = None if is_child(config) else Isolation(config, self._worktree)
        writes = not is_worker(config) and not config.option.collectonly
        self._reporting = Reporting(config, self._reports) if writes else None
        if writes:
            check_attachments(config)
        self._history = History(config)

    def examination(self, item: CheckItem) -> Examination:
        """The examination of the item's variant, by the checks that were selected of it."""
        key = item.variant.nodeid
        if key not in self._examinations:
            self._variants[key] = item
            checks = tuple(self._selected.get(key, [item.check]))
            alone = self._names[item.subject.name] <= 1
            name = item.subject.name if alone else item.qualified_name
            against = "" if self._worktree is None else self._worktree.commit
            past = self._history.baseline(item, checks)
            subject = Subject(name, item.subject.policy, checks, item.tag.rebuild, past, against)
            child = None if self._isolation is None else partial(self._isolation.run, item)
            runner = child if self._isolates else None
            self._examinations[key] = Examination(subject, self._progress.tell, runner, child)
        return self._examinations[key]

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note which checks are left of each recipe after all deselection, causes first."""
        for item in session.items:
            if isinstance(item, CheckItem):
                self._items += 1
                if item.variant.nodeid not in self._selected:
                    self._names[item.subject.name] += 1
                self._selected.setdefault(item.variant.nodeid, []).append(item.check)
        if self._items and not is_worker(self._config):  # whose controller would not hear of it
            check_device(self._config)
        workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0"))
        if self._items and workers:
            share_processors(workers)
        for key, names in self._selected.items():
            order = {name: i for i, name in enumerate(all_checks())}
            self._selected[key] = sorted(names, key=order.__getitem__)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        """Say that an item has its turn: should it be the last, that is told of it."""
        self._in_flight = item if isinstance(item, CheckItem) else None
        if self._reporting is not None and self._in_flight is not None:
            self._reporting.begin(self._in_flight.place)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Put the finding on the report, as plain data and as JUnit properties."""
        if isinstance(item, CheckItem) and call.when == "call":
            self._progress.clear()
            item.properties()
            attach(item)
        report = yield
        if isinstance(item, CheckItem) and self._reports and call.when != "teardown":
            report.dlcheck_turn = json.dumps(turn_of(item, call))  # type: ignore[attr-defined]
        if isinstance(item, CheckItem) and call.when == "call":
            news = item.news(traces=bool(self._reports))
            self._history.address(news, item)
            # As ASCII: what carries reports from workers refuses halves of surrogate pairs.
            report.dlcheck = news and json.dumps(news)  # type: ignore[attr-defined]
            if news is not None:
                self._told.add((item.variant.nodeid, item.check))
        return report

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """Put back what was built once, and let it go, when another recipe's turn comes."""
        if isinstance(item, CheckItem) and not (
            isinstance(nextitem, CheckItem) and nextitem.variant is item.variant
        ):
            self.examination(item).put_back()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect what a report tells, whichever process it comes from."""
        told: str | None = getattr(report, "dlcheck", None)
        if str(report.outcome) == "rerun":
            return  # the last run tells it again
        if self._reporting is not None and (turn := getattr(report, "dlcheck_turn", None)):
            self._reporting.take_turn(json.loads(turn), report.outcome)
        if told is not None:
            news = json.loads(told)
            self._note(Finding.from_json(news["finding"]), news)
        for news in told_on(report):
            self._note(Finding.from_json(news["finding"]), news)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Render the reports; one that was asked for and could not be written fails the session."""
        if self._isolation is not None:
            self._isolation.close()
        if session.exitstatus == pytest.ExitCode.INTERRUPTED and not is_worker(self._config):
            self._tell_the_rest()
        self._history.finish()
        if self._reporting is None:
            return
        self._reporting.warnings += [self._history.warning] if self._history.warning else []
        self._reporting.history = self._history.drawn()
        whole = self._reporting.finish(self._findings, int(session.exitstatus))
        if not (whole or session.exitstatus):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter, exitstatus: int | pytest.ExitCode
    ) -> None:
        """Write the table, the causes, what stays open, or how to begin."""
        told = [*self._findings]
        if exitstatus == pytest.ExitCode.INTERRUPTED:
            told += self._cut_short()
        write_summary(terminalreporter, told, items=self._items, exit_code=exitstatus)
        if self._reporting is not None:
            write_reports(terminalreporter, self._reporting)

    def _note(self, finding: Finding, news: dict[str, Any]) -> None:
        self._findings.append(finding)
        self._history.note(finding, news)
        if self._reporting is not None:
            self._reporting.tell(finding, news)

    def _cut_short(self) -> list[Finding]:
        """What Ctrl-C met before it was judged, as the reports tell it."""
        item = self._in_flight
        if item is None or (item.variant.nodeid, item.check) in self._told:
            return []
        return [interrupted(item.examination.subject.name, item.check)]

    def _tell_the_rest(self) -> None:
        """Tell what was concluded for items that Ctrl-C left without their turn."""
        for key, examination in self._examinations.items():
            policy, strict = examination.subject.policy, options.strict(self._config)
            for check in examination.verdicts:
                if (key, check) not in self._told:
                    self._told.add((key, check))
                    fresh = examination.fresh_traces()
                    finding = examination.finding(check, examination.diagnosis(), fresh)
                    finding = ruled(masked_finding(finding), policy, strict)
                    item = self._variants[key]
                    news = news_of(finding, item, fresh, traces=bool(self._reports))
                    self._history.address(news, item)
                    self._note(finding, news)
