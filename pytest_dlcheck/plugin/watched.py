"""An ordinary test that bears the marker itself: what it trains is watched and judged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import pytest

from pytest_dlcheck.by_hand import CheckFailedError, Rules
from pytest_dlcheck.finding import Finding
from pytest_dlcheck.plugin import options
from pytest_dlcheck.plugin.policies import policy_of, wanted_checks
from pytest_dlcheck.reports import terminal
from pytest_dlcheck.reports.text import failures_text
from pytest_dlcheck.session import all_checks
from pytest_dlcheck.watching import NothingTrainedError, Watched, watch

_WIDTH = 100


@contextmanager
def watched_call(item: pytest.Function) -> Iterator[None]:
    """Watch the test's own code, and fail the test where something does not hold.

    An exception of the test stays what it is; what was found is told beside it.
    """
    __tracebackhide__ = True
    run = None
    try:
        with watch(item.name, watch_rules(item)) as run:
            yield
    except BaseException:
        if run is not None and run.failures:
            item.add_report_section("call", "dlcheck", failures_text(run.failures))
        raise
    if told := _objection(run):
        pytest.fail(told, pytrace=False)


def _objection(run: Watched) -> str:
    try:
        run.check()
    except (CheckFailedError, NothingTrainedError) as error:
        return str(error)
    return ""


def watch_rules(item: pytest.Item) -> Rules:
    """How what a test trains is judged: by all checks that can, or by those that are selected."""
    policy = policy_of(item)
    checks = wanted_checks(policy, item.config, among=all_checks)
    return Rules(policy, checks, options.strict(item.config), partial(tell, item))


def tell(item: pytest.Item, findings: Sequence[Finding]) -> None:
    """What is open or advised stands in the test's report."""
    text = terminal.unsettled(findings, width=_WIDTH, colour=False)
    if text:
        item.add_report_section("call", "dlcheck", text)
