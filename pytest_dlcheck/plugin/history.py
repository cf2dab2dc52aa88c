"""The history of a session's gates: what they are held against, and what they leave. It fails no one.

Only measures of gates are kept: whatever else is measured is measured with probes in the way.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest

from pytest_dlcheck.baseline import NO_BASELINE, Baseline
from pytest_dlcheck.check import Check, registry
from pytest_dlcheck.finding import Finding
from pytest_dlcheck.plugin import options
from pytest_dlcheck.plugin.journaling import is_child, is_worker
from pytest_dlcheck.recipe import RecipeError
from pytest_dlcheck.session import resolve_device, torch_facts
from pytest_dlcheck.store import git
from pytest_dlcheck.store.errors import StoreError
from pytest_dlcheck.store.machine import this_machine
from pytest_dlcheck.store.place import NOWHERE, Place, place_of
from pytest_dlcheck.store.records import ACCEPTED_ONES, Run
from pytest_dlcheck.store.telling import REPEATS, entries_of, measured, traces_of

if TYPE_CHECKING:
    from pytest_dlcheck.plugin.items import CheckItem
    from pytest_dlcheck.reports.html.history import History as Drawn

RUN = pytest.StashKey[Run]()
"""What is known of the session."""


class History:
    """What the gates of a session are held against, and what they measured.

    Args:
        config: the session's.

    Raises:
        pytest.UsageError: a history is asked for that cannot be.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._place = _place(config)
        self._name = options.baseline(config)
        if self._name and self._place is None:
            raise pytest.UsageError(
                f"--dlcheck-baseline {self._name} asks for a history, and --dlcheck-store is none"
            )
        self._writes = not is_worker(config) and not config.option.collectonly
        self._line = lru_cache(lambda name: git.line(config.rootpath, name))
        self._machine = lru_cache(lambda device: this_machine(torch_facts(device)))
        self._told: dict[tuple[str, str], tuple[Finding, dict[str, Any]]] = {}
        self.warning = ""
        """Why the history could not be asked, read or written, with its remedy; empty if all is well."""
        if not is_worker(config):
            self._look_for_the_reference()

    def baseline(self, item: CheckItem, checks: Iterable[str]) -> Baseline:
        """What a recipe is held against: nothing, unless that was asked for and a check wants it.

        Args:
            item: any item of the recipe's variant.
            checks: the names of the checks that judge it.
        """
        wanted = any(type(registry()[name]).under is not Check.under for name in checks)
        if not (self._name and wanted) or is_child(self._config):
            return NO_BASELINE
        found = NO_BASELINE

        def ask(place: Place) -> None:
            nonlocal found
            found = self._ask(place, item)

        trouble = self._carefully(ask)
        return Baseline(self._name, notice=trouble) if trouble else found

    def address(self, news: dict[str, Any] | None, item: CheckItem) -> None:
        """Say of what a gate measured where that was; in the process that measured it."""
        if news is None:
            return
        verdict = news["finding"]["verdict"]
        check = verdict["check"]
        if check != REPEATS and not (_is_gate(check) and verdict["measures"]):
            return
        try:
            machine = self._machine(resolve_device(item.subject.policy.device))
        except RecipeError:
            return
        traces = tuple(item.examination.traces.values()) if check == REPEATS else ()
        news["measured"] = measured(item.qualified_name, machine, _torch_version(), traces)

    def note(self, finding: Finding, news: dict[str, Any]) -> None:
        """Keep what a gate measured until the end; of several turns the last counts."""
        if "measured" in news:
            news["measured"]["run"] = run_of(self._config).to_json()
            self._told[finding.recipe, finding.verdict.check] = (finding, news["measured"])

    def finish(self) -> None:
        """Write what the gates measured."""
        if self._writes and self._told and self._place is not None:
            self._carefully(self._write)

    def drawn(self) -> tuple[Drawn, ...]:
        """What was measured of the session's recipes before and now, for reports that draw it."""
        found: tuple[Drawn, ...] = ()

        def read(place: Place) -> None:
            nonlocal found
            from pytest_dlcheck.past import measured_in

            found = measured_in(place, run_of(self._config).uid, {recipe for recipe, _ in self._told})

        if self._writes and self._told and self._place is not None:
            self._carefully(read)
        return found

    def _look_for_the_reference(self) -> None:
        """See that git knows what gates are to be held against: a typo would hold them against nothing.

        The ini file may name a branch that not every clone has, so there it is a warning.

        Raises:
            pytest.UsageError: it does not, and the command line asked.
        """
        trouble = self._line(self._name).trouble if self._name not in {"", ACCEPTED_ONES} else ""
        if trouble and self._config.getoption("--dlcheck-baseline"):
            raise pytest.UsageError(f"--dlcheck-baseline {self._name}: {trouble}")
        self.warning = trouble and f"gates are not held against {self._name}: {trouble}"

    def _carefully(self, do: Callable[[Place], None]) -> str:
        """Do something with the history; what goes wrong is a warning, and no one's verdict."""
        assert self._place is not None
        try:
            do(self._place)
        except StoreError as error:
            self.warning = self.warning or str(error)
            return str(error)
        except Exception as error:  # noqa: BLE001  what is asked for here is a service beside the verdicts
            told = f"the history {self._place.name} failed, please report it: {type(error).__name__}"
            self.warning = self.warning or told
            return told
        return ""

    def _ask(self, place: Place, item: CheckItem) -> Baseline:
        from pytest_dlcheck.store.baselines import Question, baseline
        from pytest_dlcheck.store.database import opened

        try:
            machine = self._machine(resolve_device(item.subject.policy.device))
        except RecipeError:
            return NO_BASELINE
        if place.path is not None and not place.path.exists():
            return Baseline(self._name, notice=f"no history was recorded yet at {place.name}")
        line = git.Line() if self._name == ACCEPTED_ONES else self._line(self._name)
        question = Question(
            recipe=item.qualified_name,
            machine=machine,
            torch_version=_torch_version(),
            name=self._name,
            line=line,
            line_of=self._line,
        )
        with opened(place) as database:
            return baseline(database, question)

    def _write(self, place: Place) -> None:
        from pytest_dlcheck.store.database import opened
        from pytest_dlcheck.store.writing import append

        run = run_of(self._config)
        entries, traces = [], []
        for finding, told in self._told.values():
            entries += entries_of(finding, told)
            traces += [] if run.dirty else traces_of(told)
        if entries or traces:
            with opened(place, make=True) as database:
                append(database, run, entries, traces)


def run_of(config: pytest.Config) -> Run:
    """What is known of this session, found out once."""
    if RUN not in config.stash:
        found = git.checkout(config.rootpath)
        config.stash[RUN] = Run(
            uid=uuid.uuid4().hex,
            time=time.time(),
            commit=found.commit,
            branch=found.branch,
            dirty=found.dirty,
            plugin_version=version("pytest-dlcheck"),
            torch_version=_torch_version(),
        )
    return config.stash[RUN]


def _place(config: pytest.Config) -> Place | None:
    text = options.store(config)
    if text == NOWHERE:
        return None
    try:
        return place_of(text, config.rootpath)
    except StoreError as error:
        raise pytest.UsageError(f"--dlcheck-store: {error}") from None


def _is_gate(check: str) -> bool:
    return check in registry() and registry()[check].family == "gate"


def _torch_version() -> str:
    return version("torch")
