"""What collection saw of recipes, told when the session ends; workers send theirs to the controller."""

from __future__ import annotations

import sys
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any

import pytest

NAME = "dlcheck-notes"
_OUTPUT = "dlcheck_notes"


class Notes:
    """Counts the recipes that were collected, and keeps those that are imported and nowhere collected.

    Attributes:
        collected: how many recipes were collected.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.collected = 0
        self._config = config
        self._homes: dict[int, ModuleType] = {}
        self._files: set[str] = set()
        self._imported: set[tuple[str, str]] = set()
        self._told: set[tuple[str, str]] = set()

    def is_collected_elsewhere(self, factory: Any, module: ModuleType) -> bool:
        """Whether the factory belongs to another module than the one that is being collected.

        One that a helper made, so that no module but this has a name for it, belongs here.
        """
        home = sys.modules.get(getattr(factory, "__module__", ""))
        if home is not None and home.__name__ != module.__name__ and _holds(home, factory):
            self._imported.add((factory.__name__, getattr(home, "__file__", None) or ""))
            return True
        return self._homes.setdefault(id(factory), module) is not module

    def take(self, file: Path) -> None:
        """A recipe of that file was collected."""
        self.collected += 1
        self._files.add(str(file))

    @property
    def passed_over(self) -> list[tuple[str, str]]:
        """Recipes that are imported from files that pytest does not collect: name and file."""
        patterns = self._config.getini("python_files")
        own = {
            (name, self._shown(file))
            for name, file in self._imported
            if file not in self._files and not any(PurePath(file).match(p) for p in patterns)
        }
        return sorted(own | self._told)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """A worker sends its notes along."""
        output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[_OUTPUT] = [self.collected, [list(pair) for pair in self.passed_over]]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """The controller takes a worker's notes: all of them have collected the same."""
        collected, passed_over = getattr(node, "workeroutput", {}).get(_OUTPUT, (0, ()))
        self.collected = max(self.collected, collected)
        self._told.update((name, file) for name, file in passed_over)

    def _shown(self, file: str) -> str:
        root = self._config.rootpath
        return str(Path(file).relative_to(root)) if Path(file).is_relative_to(root) else Path(file).name


def notes_of(config: pytest.Config) -> Notes:
    """The session's notes."""
    notes = config.pluginmanager.get_plugin(NAME)
    assert isinstance(notes, Notes)
    return notes


def _holds(module: ModuleType, factory: object) -> bool:
    """Whether a name of the module stands for the very factory."""
    return any(value is factory for value in vars(module).values())
