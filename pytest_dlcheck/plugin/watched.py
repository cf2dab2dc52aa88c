"""An ordinary test that bears the marker itself: what it trains is watched and judged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import pytest

from pytest_dlcheck.by_hand import CheckFailedError, Rules
from pytest_dlcheck.check import select
from pytest_dlcheck.finding import Finding
from pytest_dlcheck.plugin import options
from pytest_dlcheck.plugin.policies import policy_of
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
    chosen = all_checks() if policy.select is None else select(policy.select, option="select")
    ignored = {
        *select(policy.ignore, option="ignore"),
        *select(options.names_of(item.config, "ignore"), option="--dlcheck-ignore"),
    }
    checks = tuple(name for name in chosen if name not in ignored)
    return Rules(policy, checks, options.strict(item.config), partial(_tell, item))


def _tell(item: pytest.Item, findings: Sequence[Finding]) -> None:
    text = terminal.unsettled(findings, width=_WIDTH, colour=False)
    if text:
        item.add_report_section("call", "dlcheck", text)
