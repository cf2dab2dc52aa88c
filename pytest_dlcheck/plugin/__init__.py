"""The only room that imports pytest: hooks, options, items, fixtures. Thin: it asks the session.

Loaded in every pytest run, so it imports nothing that is heavy; the rest comes with ``--dlcheck``.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_dlcheck.plugin import options
from pytest_dlcheck.recipe import recipe_tag

if TYPE_CHECKING:
    from pytest_dlcheck.plugin.fixture import DLCheck


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options and their ini twins."""
    options.declare(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and what only ``--dlcheck`` needs."""
    config.addinivalue_line("markers", options.MARKER)
    if options.enabled(config):
        from pytest_dlcheck.plugin.conductor import Conductor

        config.pluginmanager.register(Conductor(config), "dlcheck-conductor")
        if config.pluginmanager.has_plugin("xdist"):
            from pytest_dlcheck.plugin.xdist import Distribution

            config.pluginmanager.register(Distribution(), "dlcheck-distribution")


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


@pytest.fixture
def dlcheck(request: pytest.FixtureRequest) -> DLCheck:
    """Train and check recipes by hand: ``dlcheck.train(recipe)``, ``dlcheck.check(recipe)``."""
    from pytest_dlcheck.plugin.fixture import DLCheck

    return DLCheck(request)


@pytest.fixture(scope="session")
def dlcheck_device(pytestconfig: pytest.Config) -> str:
    """The device that ``--dlcheck-device`` selects, as torch names it: ``"cpu"``, ``"cuda"``."""
    from pytest_dlcheck.session import resolve_device

    return resolve_device(options.device(pytestconfig))
