"""Under pytest-xdist: the items of one recipe variant go to one worker, ids unchanged."""

from __future__ import annotations

from typing import Any

import pytest


class Distribution:
    """Gives xdist's ``load`` distribution a scheduler that keeps the items of a recipe together."""

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """Our scheduler where the user has not chosen another distribution mode."""
        if config.getoption("dist") != "load":
            return None
        from xdist.scheduler import LoadScopeScheduling

        class RecipeScheduling(LoadScopeScheduling):  # type: ignore[misc]
            def _split_scope(self, nodeid: str) -> str:
                return scope(nodeid)

        return RecipeScheduling(config, log)


def scope(nodeid: str) -> str:
    """What must stay together: the recipe and its parameters; an ordinary test stands alone.

    ``t.py::digits::gradients_flow[a]`` becomes ``t.py::digits[a]``.
    """
    from pytest_dlcheck.session import all_checks

    base, bracket, parameters = nodeid.partition("[")
    parent, _, name = base.rpartition("::")
    return f"{parent}{bracket}{parameters}" if name in all_checks() else nodeid
