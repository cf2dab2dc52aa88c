"""What was watched in ordinary tests: it travels on their reports. Nothing heavy is loaded.

Under ``--dlcheck`` the conductor tells it together with the recipes'; without, it is told from here.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_dlcheck.plugin import options

if TYPE_CHECKING:
    from pytest_dlcheck.watching import Watched

SEEN = pytest.StashKey[list["Watched"]]()
"""What was watched in a test, in the order in which it began."""
_TOLD = pytest.StashKey[frozenset[int]]()
"""Which of them were told on a report, by identity."""
NAME = "dlcheck-watched-tests"


class WatchedTests:
    """Puts findings on the reports of tests that were watched."""

    def __init__(self) -> None:
        self._told: list[dict[str, Any]] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Put them there as plain data, and into JUnit's properties.

        A fixture's watch may end before the test's own code begins, or after that has ended.
        """
        news: list[dict[str, Any]] = []
        if seen := _untold(item, call):
            from pytest_dlcheck.plugin.watched import news_of

            news = news_of(item, seen, passes=call.excinfo is None)
        report = yield
        if news and self._is_wanted(item.config, news):
            # As ASCII: what carries reports from workers refuses halves of surrogate pairs.
            report.dlcheck_watched = json.dumps(news)  # type: ignore[attr-defined]
        return report

    def _is_wanted(self, config: pytest.Config, news: list[dict[str, Any]]) -> bool:
        """Whether it is told anywhere but in JUnit's file: what is healthy is not kept for nothing."""
        if options.enabled(config) or options.asks_for_reports(config):
            return True
        from pytest_dlcheck.finding import Finding

        return any(Finding.from_json(one["finding"]).fails for one in news)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep them, whichever process they come from."""
        self._told += told_on(report)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Without ``--dlcheck``, write the table of the trainings in which something failed."""
        if not self._told or options.enabled(terminalreporter.config):
            return
        from pytest_dlcheck.finding import Finding, by_recipe
        from pytest_dlcheck.plugin.summary import write_findings

        groups = by_recipe(Finding.from_json(news["finding"]) for news in self._told).values()
        failed = [finding for group in groups if any(f.fails for f in group) for finding in group]
        if failed:
            write_findings(terminalreporter, failed)


def _untold(item: pytest.Item, call: pytest.CallInfo[None]) -> list[Watched]:
    """The watches to be told now: those that have ended, once it is known what becomes of the test."""
    goes_on = call.when == "setup" and call.excinfo is None
    seen = item.stash.get(SEEN, [])
    if goes_on or not seen:
        return []
    known: frozenset[int] = item.stash.get(_TOLD, frozenset())
    fresh = [run for run in seen if run.has_ended and id(run) not in known]
    item.stash[_TOLD] = known.union(map(id, fresh))
    if call.when == "teardown":
        del item.stash[SEEN], item.stash[_TOLD]
    return fresh


def told_on(report: pytest.TestReport) -> list[dict[str, Any]]:
    """What a report tells of watched trainings: news, as those of a recipe's items."""
    told: str = getattr(report, "dlcheck_watched", "")
    if not told or str(report.outcome) == "rerun":  # the last run tells it again
        return []
    news: list[dict[str, Any]] = json.loads(told)
    return news
