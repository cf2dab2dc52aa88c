"""Under pytest-xdist: the items of a recipe variant go to one worker, and each worker gets its GPU."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from typing import Any

import pytest

from pytest_dlcheck.plugin import gpus, options
from pytest_dlcheck.plugin.solitude import folder_of


class Distribution:
    """Gives xdist's ``load`` distribution a scheduler that keeps the items of a recipe together."""

    def __init__(self) -> None:
        self._runs: set[str] = set()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """Our scheduler where the user has not chosen another distribution mode."""
        if config.getoption("dist") != "load":
            return None
        from pytest_dlcheck.plugin.scheduling import RecipeScheduling

        return RecipeScheduling(config, log)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Note what the run is called, for the locks that its workers share."""
        self._runs.add(str(node.workerinput["testrunuid"]))

    def pytest_unconfigure(self) -> None:
        """Take the locks away, which nobody holds any more."""
        for run in self._runs:
            shutil.rmtree(folder_of(run), ignore_errors=True)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_setupnodes(self, config: pytest.Config, specs: Sequence[Any]) -> None:
        """Give each worker one GPU of the caller's, and a worker that replaces it the same."""
        if options.device(config) not in {"auto", "cuda"} or not gpus.may_be_there():
            return
        visible = os.environ.get(gpus.VISIBLE)
        count = 0
        if visible is None:
            from pytest_dlcheck.session import count_gpus

            count = count_gpus()
        for worker, spec in enumerate(specs):
            mine = gpus.share(worker, visible, count)
            if spec.popen and mine is not None:
                spec.env.setdefault(gpus.VISIBLE, mine)

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport) -> None:
        """A worker died while it judged a check: that is a finding too."""
        from pytest_dlcheck.plugin.scheduling import lost

        finding = lost(crashitem, str(report.longrepr))
        if finding is not None:
            report.longrepr = finding.verdict.because
            report.dlcheck = json.dumps({"finding": finding.to_json()})  # type: ignore[attr-defined]
