"""Toy projects: pytest driven from a test, with toy checks in the place of the real ones."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import pytest_dlcheck.checks
from pytest_dlcheck.check import registry
from tests.nursery import Nursery

TOYS = Path(__file__).parent / "toys"
CONFTEST = """\
import pytest_dlcheck.checks
pytest_dlcheck.checks.__path__[:] = [{folder!r}]
"""
INI = """\
[pytest]
addopts = -p no:randomly
dlcheck_steps = 4
"""


def pytest_configure():
    """The many processes that tests start compile what they import once, not each for itself."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


class Memory:
    """A plugin that keeps what a pytest in this process has imported, which pytester would forget.

    torch cannot be imported twice, and the rooms of our package must not meet their own doubles.
    """

    def __init__(self, projects: Path) -> None:
        self.passing = (str(projects), str(TOYS))
        self.modules: dict[str, ModuleType] = {}

    def pytest_unconfigure(self) -> None:
        for name, module in sys.modules.items():
            if not (getattr(module, "__file__", None) or "").startswith(self.passing):
                self.modules[name] = module

    def recall(self) -> None:
        for name, module in self.modules.items():
            sys.modules.setdefault(name, module)


class Project:
    """A repository with tests in it, on which pytest is run."""

    def __init__(self, pytester: pytest.Pytester, memory: Memory) -> None:
        self.pytester, self.path, self.memory = pytester, pytester.path, memory
        shutil.copy(TOYS / "kit.py", self.path)
        self.write({"conftest.py": CONFTEST.format(folder=str(TOYS / "checks")), "pytest.ini": INI})

    def write(self, files: dict[str, str]) -> None:
        """Write files by their path in the project."""
        for name, text in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def recipes(self, text: str, name: str = "test_it.py") -> None:
        """Write a test file, with the kit's names at hand."""
        self.write({name: f"import pytest\nfrom kit import *\n\n{text}\n"})

    def append(self, name: str, text: str) -> None:
        """Write more into a file."""
        with (self.path / name).open("a", encoding="utf-8") as file:
            file.write(text)

    def run(self, *args: str, **options: Any) -> pytest.RunResult:
        """Run pytest in this process, without ``--dlcheck``."""
        registry.cache_clear()
        result = self.pytester.runpytest_inprocess(*args, plugins=[self.memory], **options)
        self.memory.recall()
        return result

    def check(self, *args: str) -> pytest.RunResult:
        """Run pytest in this process, with ``--dlcheck``."""
        return self.run("--dlcheck", *args)

    def ids(self, *args: str) -> list[str]:
        """The node ids that are collected."""
        lines = self.run("--collect-only", "-q", *args).outlines
        return [line for line in lines if "::" in line]

    def passed(self, *args: str) -> set[str]:
        """The node ids that pass, under ``--dlcheck``; nothing may fail."""
        result = self.check("-v", *args)
        assert result.ret == 0, result.stdout.str()
        return {line.split(" PASSED")[0] for line in result.outlines if " PASSED" in line}


@pytest.fixture
def memory(tmp_path_factory):
    """Asked for before pytester, and so torn down after it has forgotten everything."""
    memory = Memory(tmp_path_factory.getbasetemp())
    yield memory
    memory.recall()


@pytest.fixture
def project(memory, pytester, monkeypatch):
    """An empty project with toy checks: ``data``, ``dynamics``, and two of ``learning``."""
    monkeypatch.delenv("CI", raising=False)
    for name in ("conftest", "kit", "test_it"):  # other tests may have run a pytest in here too
        monkeypatch.delitem(sys.modules, name, raising=False)
    own = list(pytest_dlcheck.checks.__path__)
    yield Project(pytester, memory)
    pytest_dlcheck.checks.__path__[:] = own
    registry.cache_clear()


@pytest.fixture
def real_project(project):
    """An empty project with the real checks."""
    project.write({"conftest.py": ""})
    return project


@pytest.fixture(scope="session")
def nursery():
    """A Python that has imported torch already, for all tests of a process."""
    nursery = Nursery()
    yield nursery
    nursery.close()


@pytest.fixture
def quick_python(request, monkeypatch):
    """What is started with ``sys.executable`` is forked from a Python that has imported torch."""
    if sys.platform == "linux":
        monkeypatch.setattr(sys, "executable", request.getfixturevalue("nursery").python)


@pytest.fixture
def quick_session(request):
    """The same for one process alone: what that starts in turn, and kills, starts from nothing."""
    return request.getfixturevalue("nursery").once if sys.platform == "linux" else sys.executable


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Toy models are too small for more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def nothing_compiled_before():
    """What another test compiled in this process is no part of this one: it would not be listened to."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    if dynamo is not None:
        dynamo.counters.clear()


@pytest.fixture(autouse=True)
def faults_of_the_watch_are_raised(monkeypatch):
    """What fails itself judges nothing: a test that expects no alarm must not pass for that."""

    def raised(_, error):
        raise error

    monkeypatch.setattr("pytest_dlcheck.run.watch.guard.Guard.notes", raised)
    monkeypatch.setattr("pytest_dlcheck.loops.broken", raised)
