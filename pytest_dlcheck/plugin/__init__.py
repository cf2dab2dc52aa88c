"""The only room that imports pytest: hooks, options, items, fixtures. Thin: it asks the session.

Loaded in every pytest run, so it imports nothing that is heavy; the rest comes with ``--dlcheck``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from pytest_dlcheck.host import HERE
from pytest_dlcheck.plugin import hookspecs, options, watched_tests
from pytest_dlcheck.recipe import recipe_tag

if TYPE_CHECKING:
    from pytest_dlcheck.plugin.fixture import DLCheck
    from pytest_dlcheck.watching import Watched


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hooks that others may implement."""
    pluginmanager.add_hookspecs(hookspecs)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options and their ini twins."""
    options.declare(parser)


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, Any, Any]:
    """Remember where modules were found before anything was added, for processes of the same kind."""
    early_config.stash[options.SEARCH_PATH] = tuple(map(str, sys.path))
    return (yield)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and what only ``--dlcheck`` needs."""
    config.addinivalue_line("markers", options.MARKER)
    config.pluginmanager.register(watched_tests.WatchedTests(), watched_tests.NAME)
    if options.enabled(config):
        from pytest_dlcheck.plugin import notes
        from pytest_dlcheck.plugin.conductor import Conductor

        config.pluginmanager.register(notes.Notes(config), notes.NAME)
        config.pluginmanager.register(Conductor(config), "dlcheck-conductor")
        _register_gates(config)
        if config.pluginmanager.has_plugin("xdist"):
            from pytest_dlcheck.plugin.xdist import Distribution

            config.pluginmanager.register(Distribution(), "dlcheck-distribution")
    elif options.asks_for_reports(config):
        _register_reports(config)


def _register_reports(config: pytest.Config) -> None:
    from pytest_dlcheck.plugin.journaling import is_worker
    from pytest_dlcheck.plugin.watched_reports import NAME, WatchedReports

    if not (is_worker(config) or config.option.collectonly):
        config.pluginmanager.register(WatchedReports(config), NAME)


def _register_gates(config: pytest.Config) -> None:
    from pytest_dlcheck.plugin.benchmarking import Benchmarking
    from pytest_dlcheck.plugin.journaling import is_child
    from pytest_dlcheck.plugin.solitude import Solitude

    if is_child(config):
        return
    config.pluginmanager.register(Benchmarking(config), "dlcheck-benchmarking")
    if hasattr(config, "workerinput"):
        run = str(config.workerinput["testrunuid"])
        config.pluginmanager.register(Solitude(run), "dlcheck-solitude")


@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makeitem(
    collector: pytest.Module | pytest.Class, name: str, obj: object
) -> Generator[None, Any, Any]:
    """Turn a recipe's factory into a collector of checks, or into nothing without ``--dlcheck``."""
    if recipe_tag(obj) is None:
        return (yield)
    if not options.enabled(collector.config):
        yield
        return []
    from pytest_dlcheck.plugin.collect import collected

    with collected(collector, name, obj) as wrap:
        return wrap((yield))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """A loop that is watched while an ordinary test runs is that test's; a recipe hosts none."""
    is_ordinary = isinstance(item, pytest.Function) and recipe_tag(item.obj) is None
    before, HERE.host = HERE.host, partial(_hosted, item) if is_ordinary else None
    try:
        return (yield)
    finally:
        HERE.host = before


def _hosted(item: pytest.Item, name: str, stop_after: int | None) -> AbstractContextManager[Watched]:
    from pytest_dlcheck.plugin.watched import hosted

    return hosted(item, name, stop_after)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, Any, Any]:
    """Watch what an ordinary test trains, where the marker stands on the test itself."""
    own = any(mark.name == "dlcheck" for mark in pyfuncitem.own_markers)
    if not own or "dlcheck" in pyfuncitem.fixturenames or recipe_tag(pyfuncitem.obj) is not None:
        return (yield)
    from pytest_dlcheck.plugin.watched import watched_call

    with watched_call(pyfuncitem):
        return (yield)


@pytest.fixture
def dlcheck(request: pytest.FixtureRequest) -> DLCheck:
    """Train and check recipes by hand: ``dlcheck.train(recipe)``, ``dlcheck.check(recipe)``."""
    from pytest_dlcheck.plugin.fixture import DLCheck

    return DLCheck(request)


@pytest.fixture(scope="session")
def dlcheck_split() -> Callable[..., tuple[Any, Any]]:
    """What cuts one data set in two, to train and to validate on; under ``folds=``, fold by fold.

    Used in a factory as ``train, val = dlcheck_split(dataset)``.
    """
    from pytest_dlcheck.session import split

    return split


@pytest.fixture(scope="session")
def dlcheck_device(pytestconfig: pytest.Config) -> str:
    """The device that ``--dlcheck-device`` selects, as torch names it: ``"cpu"``, ``"cuda"``."""
    from pytest_dlcheck.session import resolve_device

    return resolve_device(options.device(pytestconfig))
