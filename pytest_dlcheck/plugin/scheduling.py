"""xdist's scheduler that keeps the items of a recipe together, also when workers die of them."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from pytest_dlcheck.finding import Finding
from pytest_dlcheck.verdict import Outcome, Verdict

PATIENCE = 2
"""Workers that a recipe may cost before its other checks are given up; xdist ends a session after four
times the number of its workers."""
_RUNS_FROM = 2
"""Items from which on a worker runs the first of them."""
TIMED = " timed"
"""Marks a unit of work that takes the time."""
REMEDY = "--dlcheck-isolate runs each trial in a process of its own, and tells what ended it"


def scope(nodeid: str) -> str:
    """What must stay together: a recipe's items, but those that take the time by themselves."""
    from pytest_dlcheck.session import timed_checks

    recipe = recipe_of(nodeid)
    return f"{recipe}{TIMED}" if recipe != nodeid and check_of(nodeid) in timed_checks() else recipe


def recipe_of(nodeid: str) -> str:
    """The recipe and its parameters; an ordinary test stands alone.

    ``t.py::digits::gradients_flow[a]`` becomes ``t.py::digits[a]``.
    """
    from pytest_dlcheck.session import all_checks

    base, bracket, parameters = nodeid.partition("[")
    parent, _, name = base.rpartition("::")
    return f"{parent}{bracket}{parameters}" if name in all_checks() else nodeid


def lost(nodeid: str, because: str, *, because_of: str = "") -> Finding | None:
    """What is told of a check whose worker died; None for an ordinary test.

    Args:
        nodeid: the item's.
        because: what happened.
        because_of: the check at which it happened.
    """
    if recipe_of(nodeid) == nodeid:
        return None
    verdict = Verdict(
        check=check_of(nodeid),
        outcome=Outcome.ERRORED,
        because=f"{because}; {REMEDY}",
        cause=because,
        remedy=REMEDY,
    )
    base, bracket, parameters = recipe_of(nodeid).partition("[")
    return Finding(f"{base.rpartition('::')[2]}{bracket}{parameters}", verdict, because_of)


def check_of(nodeid: str) -> str:
    """The name of the check in an item's id."""
    return nodeid.partition("[")[0].rpartition("::")[2]


class RecipeScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """A recipe's items go to one worker; an item that its worker died at is not tried again."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        self._deaths: Counter[str] = Counter()

    def _split_scope(self, nodeid: str) -> str:
        return scope(nodeid)

    def _assign_work_unit(self, node: Any) -> None:
        """What takes the time comes last: it waits until no other test runs."""
        for unit in [unit for unit in self.workqueue if unit.endswith(TIMED)]:
            self.workqueue.move_to_end(unit)
        super()._assign_work_unit(node)

    def _reschedule(self, node: Any) -> None:
        """Hand out until the worker has two items, or knows that no more come.

        A worker keeps its last item until then; xdist hands one unit to the replacement of a worker that
        died, which may be one item, and both wait for ever.
        """
        super()._reschedule(node)
        while not node.shutting_down and self._pending_of(self.assigned_work[node]) < _RUNS_FROM:
            super()._reschedule(node)

    def remove_node(self, node: Any) -> str | None:
        """Take up again what a worker has left; returns the item that it died at."""
        units = self.assigned_work.get(node, {}).values()
        waiting: list[tuple[dict[str, bool], str]] = [
            (unit, nodeid) for unit in units for nodeid, done in unit.items() if not done
        ]
        if not waiting:
            super().remove_node(node)
            return None
        unit, crashed = waiting[0]
        left = [nodeid for other, nodeid in waiting[1:] if other is unit]
        unit[crashed] = True
        self._deaths[recipe_of(crashed)] += 1
        if self._deaths[recipe_of(crashed)] >= PATIENCE:
            for nodeid in left:
                unit[nodeid] = True
                self._give_up(nodeid, crashed, node)
        super().remove_node(node)
        return crashed

    def _give_up(self, nodeid: str, crashed: str, node: Any) -> None:
        because = f"{PATIENCE} test workers have died of this recipe, the last at {check_of(crashed)}"
        finding = lost(nodeid, because, because_of=check_of(crashed))
        file = nodeid.partition("::")[0]
        location = (file, None, nodeid.partition("::")[2])
        report = pytest.TestReport(nodeid, location, {}, "failed", because, "call")
        report.node = node  # type: ignore[attr-defined]
        if finding is not None:
            report.longrepr = finding.verdict.because
            report.dlcheck = json.dumps({"finding": finding.to_json()})  # type: ignore[attr-defined]
        self.config.hook.pytest_runtest_logreport(report=report)
