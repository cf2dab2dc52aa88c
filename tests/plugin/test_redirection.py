"""In a redirected process source is found in another checkout; what is not, and why, is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_dlcheck.plan import PlannedTrial
from pytest_dlcheck.plugin import redirection as redirecting
from pytest_dlcheck.plugin.comparable import FACT, incomparable, refusal
from pytest_dlcheck.plugin.redirection import Loaded, Redirection
from pytest_dlcheck.plugin.worktree import Worktree
from pytest_dlcheck.trace import Ending, Trace
from pytest_dlcheck.trial import Terms

FIND = """
import importlib, json, sys
from importlib.util import spec_from_file_location

sys.path.insert(0, {started!r})
from start import redirect

class Editable:
    def find_spec(self, name, path=None, target=None):
        file = {editable!r}.get(name)
        return spec_from_file_location(name, file) if file else None

sys.meta_path.append(Editable())
sys.path[:1] = {path!r}
redirect()
for name in {names!r}:
    try:
        module = importlib.import_module(name)
        print(module.__file__ or list(module.__path__))
    except ImportError as error:
        print(error)
"""


@pytest.fixture
def two(tmp_path):
    """Two checkouts of a repository; gives what a redirected process finds under names of modules."""
    head, base = tmp_path / "head", tmp_path / "base"
    for root in (head, base):
        for name in ("src/toy/__init__.py", "src/toy/net.py", "flat.py", "tests/__init__.py"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch()
        (root / "tests/helpers.py").touch()
        (root / "tests/conftest.py").touch()
        (root / "tests/test_it.py").touch()
        (root / "src/space").mkdir()
        (root / "src/space/part.py").touch()
    for name in (
        "src/toy/new.py",
        "src/toy/_version.py",
        "src/younger.py",
        "kept/tool.py",
        "src/toy/vendored/part.py",
    ):
        (head / name).parent.mkdir(parents=True, exist_ok=True)
        (head / name).touch()
    (base / "src/toy/old.py").touch()
    (base / "src/toy/vendored").mkdir()
    kept = tuple(str(head / name) for name in ("src/toy/_version.py", "kept", "src/toy/vendored"))
    order = Redirection(str(head), str(base), kept, str(head / "tests/test_it.py"))
    place = tmp_path / "redirection.json"
    place.write_text(json.dumps(order.to_json()))

    def found(*names, path=(), editable=(), more=""):
        script = FIND.format(
            started=str(Path(redirecting.__file__).parent),
            path=[str(head / p) for p in path],
            editable={name: str(head / file) for name, file in editable},
            names=names,
        )
        environment = {**os.environ, "PYTEST_DLCHECK_REDIRECTION": str(place)}
        told = subprocess.run(
            [sys.executable, "-I", "-S", "-c", script + more],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not told.returncode, told.stderr
        return [line.replace(f"{tmp_path}{os.sep}", "") for line in told.stdout.splitlines()]

    return found


@pytest.mark.parametrize(
    ("name", "path", "file"),
    [
        ("toy", ["src"], "base/src/toy/__init__.py"),
        ("toy.net", ["src"], "base/src/toy/net.py"),
        ("flat", ["."], "base/flat.py"),
        ("src.toy.net", ["."], "base/src/toy/net.py"),
        ("space.part", ["src"], "base/src/space/part.py"),
        ("tests.helpers", ["."], "base/tests/helpers.py"),
        ("helpers", ["tests"], "base/tests/helpers.py"),
        ("toy.old", ["src"], "base/src/toy/old.py"),
    ],
)
def test_source_is_found_in_the_other_checkout(two, name, path, file):
    assert two(name, path=path) == [file]


@pytest.mark.parametrize(
    ("name", "path", "file"),
    [
        ("test_it", ["tests"], "head/tests/test_it.py"),
        ("tests.test_it", ["."], "head/tests/test_it.py"),
        ("conftest", ["tests"], "head/tests/conftest.py"),
        ("toy._version", ["src"], "head/src/toy/_version.py"),
        ("tool", ["kept"], "head/kept/tool.py"),
        ("toy.vendored.part", ["src"], "head/src/toy/vendored/part.py"),
    ],
)
def test_the_test_file_and_what_is_no_source_are_found_at_hand(two, name, path, file):
    assert two(name, path=path) == [file]


@pytest.mark.parametrize("name", ["toy.new", "younger"])
def test_what_the_other_commit_lacks_is_not_found(two, name):
    editable = [("younger", "src/younger.py")]
    assert two(name, path=["src"]) == [f"No module named '{name}'"]
    assert two("younger", editable=editable) == ["No module named 'younger'"]


def test_editable_installs_that_name_files_are_followed(two):
    editable = [("toy", "src/toy/__init__.py"), ("flat", "flat.py"), ("tool", "kept/tool.py")]
    found = two("toy", "toy.net", "flat", "tool", editable=editable)
    assert found[:2] == ["base/src/toy/__init__.py", "base/src/toy/net.py"]
    assert found[2:] == ["base/flat.py", "head/kept/tool.py"]


def test_folders_that_are_added_later_are_followed(two):
    more = "sys.path.insert(0, sys.path[0] + '/../src/')\nimport toy\nprint(toy.__file__)"
    assert two(path=["tests"], more=more) == ["base/src/toy/__init__.py"]


# -- where modules came from -----------------------------------------------------------------------


@pytest.fixture
def checkouts(tmp_path):
    """Two checkouts that differ in one module."""
    head, base = tmp_path / "head", tmp_path / "base"
    for root in (head, base):
        (root / "src/toy").mkdir(parents=True)
        (root / "src/toy/__init__.py").touch()
        (root / "src/toy/net.py").write_text(f"{root.name} = 1")
        (root / "tests").mkdir()
    return Redirection(str(head), str(base), (str(head / "build"),), str(head / "tests/test_it.py"))


def loaded(order, files):
    return Loaded.of(order, {name: SimpleNamespace(__file__=file) for name, file in files.items()})


def test_modules_of_the_other_checkout_are_counted(checkouts):
    own = {
        "toy": f"{checkouts.base}/src/toy/__init__.py",
        "toy.net": f"{checkouts.base}/src/toy/net.py",
    }
    assert loaded(checkouts, own) == Loaded(2, (), (), (), changed=True)


def test_a_module_of_the_code_at_hand_is_a_stray_where_the_two_differ(checkouts):
    files = {
        "toy": f"{checkouts.head}/src/toy/__init__.py",
        "toy.net": f"{checkouts.head}/src/toy/net.py",
    }
    assert loaded(checkouts, files).strays == ("toy.net",)


def test_the_test_file_conftests_and_this_plugin_are_no_strays(checkouts):
    files = {
        "test_it": checkouts.test,
        "conftest": f"{checkouts.head}/tests/conftest.py",
        "tests": f"{checkouts.head}/tests/__init__.py",
        "pytest_dlcheck": f"{checkouts.head}/pytest_dlcheck/__init__.py",
        "__main__": f"{checkouts.head}/pytest_dlcheck/plugin/start.py",
        "torch.ops": "_ops.py",
    }
    own = (checkouts.test, f"{checkouts.head}/tests/conftest.py")
    assert loaded(checkouts, files) == Loaded(0, (), (), (), own=own)


def test_whether_what_came_from_the_other_checkout_reads_otherwise_is_told(checkouts):
    assert not loaded(checkouts, {"toy": f"{checkouts.base}/src/toy/__init__.py"}).changed
    assert loaded(checkouts, {"toy.net": f"{checkouts.base}/src/toy/net.py"}).changed
    gone = Path(checkouts.base, "src/gone.py")
    gone.touch()
    assert loaded(checkouts, {"gone": str(gone)}).changed


def test_an_installed_copy_and_a_built_module_are_told(checkouts):
    suffix = redirecting.EXTENSION_SUFFIXES[0]
    files = {
        "toy": "/somewhere/site-packages/toy/__init__.py",
        "torch": "/somewhere/site-packages/torch/__init__.py",
        "toy.fast": f"{checkouts.head}/build/fast{suffix}",
        "toy.version": f"{checkouts.head}/build/version.py",
    }
    assert loaded(checkouts, files) == Loaded(0, (), ("toy.fast",), ("toy",))


# -- what is said of it ----------------------------------------------------------------------------

COMMIT = "3f2a1c9d2e5b4a7f8091a2b3c4d5e6f708192a3b"
OTHER = Worktree("main", COMMIT, "/head", "/base", (), missing=("vendored",))
TRACE = Trace(replace(Terms().train()[0], revision=COMMIT))


def test_a_trial_that_ran_the_other_code_is_not_refused():
    assert not refusal(TRACE, OTHER)
    assert not refusal(replace(TRACE, ending=Ending("diverged", 3, "nan")), OTHER)


@pytest.mark.parametrize(
    ("trace", "told"),
    [
        (
            replace(TRACE, unobserved={FACT: "toy came from elsewhere"}),
            "main (3f2a1c9d2e) cannot be compared with: toy came from elsewhere",
        ),
        (
            replace(TRACE, ending=Ending("raised", 3, "no good", "forward, in first")),
            "main (3f2a1c9d2e) could not be run (forward, in first): no good",
        ),
        (
            replace(
                TRACE, ending=Ending("raised", None, "not collected", detail="E   ImportError: toy")
            ),
            "main (3f2a1c9d2e) could not be run: not collected: ImportError: toy",
        ),
        (
            replace(
                TRACE, ending=Ending("raised", None, "it ended", detail="  INTERNALERROR> a.MyError: no")
            ),
            "main (3f2a1c9d2e) could not be run: it ended: a.MyError: no",
        ),
    ],
)
def test_what_could_not_be_run_or_compared_names_the_commit(trace, told):
    assert refusal(trace, OTHER).startswith(told)


def test_what_the_checkout_lacks_is_told_where_it_could_not_be_run():
    trace = replace(TRACE, ending=Ending("raised", None, "no module vendored"))
    assert refusal(trace, OTHER).endswith("submodules that have changed since: vendored")


def test_of_an_incomparable_trial_nothing_was_observed():
    trace = incomparable(PlannedTrial(TRACE.trial, frozenset({"loss"})), "why")
    assert trace.unobserved == {"loss": "why"}
    assert not trace.channels


@pytest.mark.parametrize(
    ("name", "label"), [("main", "main (3f2a1c9d2e)"), ("3f2a1c9", "3f2a1c9d2e"), (COMMIT, "3f2a1c9d2e")]
)
def test_a_commit_is_told_once(name, label):
    assert replace(OTHER, name=name).label == label
