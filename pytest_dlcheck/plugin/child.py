"""The child's side of isolation: a pytest that runs one trial of one recipe, and answers with its trace.

It is started with the command line of its parent; what would select, repeat, distribute or report
anything is set aside here.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import sys
from collections.abc import Generator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import runtestprotocol  # the only way to run an item without reports

from pytest_dlcheck.plan import PlannedTrial
from pytest_dlcheck.plugin import orders
from pytest_dlcheck.plugin.comparable import ELSEWHERE, FACT, strayed
from pytest_dlcheck.plugin.items import CheckItem
from pytest_dlcheck.plugin.process import STACKS_SIGNAL
from pytest_dlcheck.session import Examination, share_processors
from pytest_dlcheck.trace import Ending, Trace
from pytest_dlcheck.trial import Trial

EARLY: dict[str, Any] = {"capture": "no", "cov_source": []}
"""Options that are looked at before any plugin is configured: print at once, measure no coverage."""
_SELECTING = ("collectonly", "pyargs", "lf", "failedfirst", "newfirst", "stepwise", "stepwise_skip")
_SHOWING = ("setuponly", "setupshow", "setupplan", "showfixtures", "usepdb", "trace", "json_report")
_DISTRIBUTING = ("distload", "looponfail", "dlcheck_isolate")
_REPORTING = ("xmlpath", "htmlpath", "report_log", "pastebin", "allure_report_dir", "cacheshow")
_BENCHMARKS = (
    *("json", "save", "autosave", "compare", "compare_fail", "histogram", "only", "skip", "cprofile"),
)
"""Options of pytest-benchmark, which measures nothing in a child."""
SET_ASIDE: dict[str, Any] = {
    **dict.fromkeys((*_SELECTING, *_SHOWING, *_DISTRIBUTING), False),
    **dict.fromkeys((*_REPORTING, "deselect", "numprocesses", "maxprocesses", "dlcheck_timeout")),
    **{f"benchmark_{name}": None for name in _BENCHMARKS},
    "keyword": "",
    "markexpr": "",
    "maxfail": 0,
    "dist": "no",
    "tx": [],
    "log_file": os.devnull,
    "color": "no",
    "dlcheck_report": [],
}
_MEMORIES = ("lfplugin", "nfplugin", "stepwiseplugin")
"""Plugins that would write into the cache what they make of a session of one item."""
_DETAIL = 4_000


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare where the order lies; known to the child alone."""
    parser.addoption("--dlcheck-child", type=Path, help=argparse.SUPPRESS)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, Any, Any]:
    """Set aside what takes effect before the options are all known."""
    _set(early_config.known_args_namespace, EARLY)
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, Any, Any]:
    """Set aside the rest, and collect one file."""
    child = Child(config.getoption("--dlcheck-child"))
    _set(config.option, {**EARLY, **SET_ASIDE, **child.order.options})
    config.option.basetemp = str(child.folder / "tmp")
    config.args[:] = [child.place]
    config.pluginmanager.register(child, "dlcheck-child")
    return (yield)


def _set(namespace: argparse.Namespace, values: dict[str, Any]) -> None:
    for name, value in values.items():
        if hasattr(namespace, name):
            setattr(namespace, name, value)


class Child:
    """Runs what it is asked to, and answers once: with a trace, or with why there is none.

    Args:
        folder: where the order lies and the answer goes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.order = orders.Order.read(folder)
        self._file = Path(self.order.file)
        self._diary = orders.Diary(folder)
        self._answer: dict[str, Any] = {}
        self._fixture = ""
        self._uncollected = ""

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Leave the cache as it is."""
        for name in filter(config.pluginmanager.has_plugin, _MEMORIES):
            config.pluginmanager.unregister(name=name)

    @property
    def place(self) -> str:
        """What is to be collected: the test file, or a folder above it whose name pytest takes.

        It takes a bracket in an argument for the beginning of parameters.
        """
        return next(str(path) for path in (self._file, *self._file.parents) if "[" not in str(path))

    @pytest.hookimpl(tryfirst=True)
    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Import no other test file."""
        return None if collection_path in {self._file, *self._file.parents} else True

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Generator[None, Any, Any]:
        """Run the one item, whatever others would make of a session that has it alone."""
        mine = [i for i in items if i.nodeid == self.order.node and isinstance(i, CheckItem)][:1]
        found = len(items)
        result = yield
        for item in mine:
            item.runtest = partial(self._run, item)  # type: ignore[method-assign]
        if not mine:
            among = "" if self._uncollected else f", among {found} items"
            message = f"{self.order.node} was not collected again{among}"
            self._end(Ending("raised", None, message, ELSEWHERE, self._uncollected))
        items[:] = mine
        return result

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Remember why something could not be collected."""
        if report.failed:
            self._uncollected += report.longreprtext[-_DETAIL:]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        """Run it without a report to anyone, and without a second attempt."""
        runtestprotocol(item, log=False, nextitem=nextitem)
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        """Begin: from here on the time counts, and a crash is told with its place."""
        if self.order.workers:
            share_processors(self.order.workers)
        _write_stacks(self.folder / orders.STACK)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                after_in_child=lambda: _write_stacks(self.folder / f"{orders.STACK}-{os.getpid()}")
            )
        sys.stdout.flush()
        self._diary.tell(begun=True, printed=(self.folder / orders.OUTPUT).stat().st_size)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Generator[None, Any, Any]:
        """Remember which fixture it was that failed."""
        try:
            return (yield)
        except BaseException:
            self._fixture = self._fixture or fixturedef.argname
            raise

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
        """Answer with what fixtures and factories raise instead of giving a recipe."""
        if call.excinfo is None:
            return
        error, words = call.excinfo.value, str(item.repr_failure(call.excinfo))[-_DETAIL:]
        if self._answer:
            self._say(**self._answer, teardown=words)
        elif isinstance(error, pytest.skip.Exception):
            self._say(skipped=str(error))
        elif isinstance(error, pytest.xfail.Exception):
            self._say(xfailed=str(error))
        elif isinstance(error, pytest.fail.Exception):
            self._say(failed=str(error))
        else:
            where = f"the fixture {self._fixture}" if self._fixture else "setting up"
            self._end(Ending("raised", None, call.excinfo.exconly(), where, words))

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Answer with what is to end the whole session; a failed collection is not of that kind."""
        if isinstance(excinfo.value, pytest.Session.Interrupted):
            return
        reason = str(excinfo.value) if isinstance(excinfo.value, pytest.exit.Exception) else None
        self._say(interrupted=True, exit=reason)

    def _run(self, item: CheckItem) -> None:
        policy = replace(item.subject.policy, timeout=self.order.timeout)
        subject = replace(item.subject, policy=policy, checks=(), rebuild=item.tag.rebuild)
        examination = Examination(subject, self._progress)
        trace = examination.run_here(PlannedTrial(self.order.trial, self.order.wanted), item.build)
        if why := self._strayed(item):
            trace = replace(trace, unobserved={**trace.unobserved, FACT: why})
        self._say(trace=trace.to_json())

    def _strayed(self, item: CheckItem) -> str:
        other = self.order.redirection
        return "" if other is None else strayed(other, item.names)

    def _progress(self, recipe: str, trial: Trial, step: int, loss: float) -> None:
        del recipe, trial
        self._diary.tell(step=step, loss=loss)

    def _end(self, ending: Ending) -> None:
        self._say(trace=Trace(self.order.trial, ending).to_json())

    def _say(self, **data: Any) -> None:
        self._answer = data
        orders.answer(self.folder, data)


def _write_stacks(path: Path) -> None:
    """From now on, write down where this process is: as it crashes, and when it is asked."""
    file = path.open("a")
    faulthandler.enable(file)
    if STACKS_SIGNAL is not None:
        faulthandler.register(STACKS_SIGNAL, file)
