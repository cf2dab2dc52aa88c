"""An ordinary test in which something is watched: by the marker on it, or by a ``watch()`` within it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from pytest_dlcheck.by_hand import CheckFailedError, Rules
from pytest_dlcheck.finding import Finding
from pytest_dlcheck.plugin import options
from pytest_dlcheck.plugin.policies import policy_of, told_alone, wanted_checks, watched_policy_of
from pytest_dlcheck.plugin.watched_tests import SEEN
from pytest_dlcheck.policy import Policy
from pytest_dlcheck.reports import junit, terminal
from pytest_dlcheck.reports.secrets import masked
from pytest_dlcheck.reports.text import failures_text
from pytest_dlcheck.session import all_checks
from pytest_dlcheck.watching import NothingTrainedError, Watched, watched

_WIDTH = 100
PASSES = "the test passes all the same"
"""Why a failed check of a test that passes is told as expected: the test asks for others, or for it."""


@contextmanager
def watched_call(item: pytest.Function) -> Iterator[None]:
    """Watch the test's own code, and fail the test where something does not hold.

    An exception of the test stays what it is; what was found is told beside it.
    """
    __tracebackhide__ = True
    run = None
    with told_alone():
        rules = watch_rules(item, watched_policy_of(item))
    try:
        with watched_block(item, rules) as run:
            yield
    except BaseException:
        if run is not None and run.failures:
            item.add_report_section("call", "dlcheck", masked(failures_text(run.failures)))
        raise
    if told := _objection(run, _selected(item, rules)):
        pytest.fail(told, pytrace=False)


@contextmanager
def watched_block(
    item: pytest.Item, rules: Rules, name: str = "", stop_after: int | None = None
) -> Iterator[Watched]:
    """Watch a block of a test's code; what is found is told at the end too.

    Args:
        item: the test.
        rules: how it is judged.
        name: what the block is called; empty where it has no name.
        stop_after: optimizer steps after which it is left.
    """
    __tracebackhide__ = True
    seen = item.stash.setdefault(SEEN, [])
    own = f"{_name(item)} ({name})" if name else _name(item)
    taken = any(run.name == own for run in seen)
    with watched(f"{own} ({len(seen) + 1})" if taken else own, rules, stop_after) as run:
        seen.append(run)
        yield run


def hosted(item: pytest.Item, name: str, stop_after: int | None) -> AbstractContextManager[Watched]:
    """What ``pytest_dlcheck.watch()`` is within a test: the same as the fixture's."""
    __tracebackhide__ = True
    with told_alone():
        rules = watch_rules(item, policy_of(item))
    return watched_block(item, rules, name, stop_after)


def news_of(item: pytest.Item, seen: Sequence[Watched], *, passes: bool) -> list[dict[str, Any]]:
    """What is to be told of a test's watches, as plain data; into JUnit's properties too.

    Args:
        item: the test.
        seen: its watches.
        passes: whether the test itself does.
    """
    told, wanted = [], options.asks_for_reports(item.config)
    for run in seen:
        findings = [replace(f, waived=PASSES) if passes and f.fails else f for f in run.told]
        item.user_properties += junit.watched_properties(findings)
        asked = {"terms": None, "checks": [], "policy": {}, **_place(item)}
        traces = {name: trace.to_json() for name, trace in run.named_traces} if wanted else {}
        for finding in findings:
            news: dict[str, Any] = {"finding": finding.to_json()}
            if wanted:
                trace = traces.pop(finding.recipe, None)
                news["asked"] = {"recipe": finding.recipe, **asked}
                news["traces"] = [] if trace is None else [trace]
            told.append(news)
    masked_news: list[dict[str, Any]] = json.loads(masked(json.dumps(told)))
    return masked_news


def watch_rules(item: pytest.Item, policy: Policy) -> Rules:
    """How what a test trains is judged: by all checks that can, or by those that are selected."""
    checks = wanted_checks(policy, item.config, among=all_checks)
    return Rules(policy, checks, options.strict(item.config), partial(tell, item))


def tell(item: pytest.Item, findings: Sequence[Finding]) -> None:
    """What is open or advised stands in the test's report."""
    text = terminal.unsettled(findings, width=_WIDTH, colour=False)
    if text:
        item.add_report_section("call", "dlcheck", text)


def _selected(item: pytest.Item, rules: Rules) -> tuple[str, ...]:
    """What the test's own marker says it is about; any other choice is of the whole session."""
    own = any("select" in mark.kwargs for mark in item.own_markers if mark.name == "dlcheck")
    here = own and not options.names_of(item.config, "select")
    return (rules.policy.select or ()) if here else ()


def _objection(run: Watched, selected: Sequence[str]) -> str:
    try:
        run.check(*selected)
    except (CheckFailedError, NothingTrainedError) as error:
        return masked(str(error))
    return ""


def _name(item: pytest.Item) -> str:
    """The test's name, or its whole id where another one has the same."""
    alike = sum(other.name == item.name for other in item.session.items)
    return item.nodeid if alike > 1 else item.name


def _place(item: pytest.Item) -> dict[str, Any]:
    path, root = item.path, item.config.rootpath
    file = path.relative_to(root).as_posix() if path.is_relative_to(root) else ""
    return {"file": file, "line": (item.reportinfo()[1] or 0) + 1}
