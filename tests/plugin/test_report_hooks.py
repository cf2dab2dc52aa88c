"""Hooks for sinks of one's own: told once, of plain values, and never able to change a verdict."""

from __future__ import annotations

import re

import pytest

RECIPES = """
@recipe
def healthy():
    return made()

@recipe
def cut():
    return made(Net(cut=True))
"""
SINK = """
import json

def pytest_dlcheck_verdict(config, finding):
    with open("verdicts.txt", "a") as file:
        print(finding.recipe, finding.verdict.check, finding.verdict.outcome, file=file)

def pytest_dlcheck_run(findings, session):
    with open("run.json", "a") as file:
        json.dump([len(findings), sorted(session)], file)
"""

BROKEN = """
class Broken:
    def pytest_dlcheck_verdict(self, finding):
        raise ValueError

def pytest_configure(config):
    config.pluginmanager.register(Broken())
"""


@pytest.fixture
def repo(project):
    project.recipes(RECIPES)
    return project


@pytest.mark.parametrize(
    "workers", [(), pytest.param(("-n2",), marks=pytest.mark.slow)], ids=["alone", "xdist"]
)
@pytest.mark.usefixtures("quick_python")
def test_sinks_hear_of_every_verdict_and_of_the_end(repo, workers):
    if workers:
        pytest.importorskip("xdist")
    repo.append("conftest.py", SINK)
    repo.pytester.runpytest_subprocess("--dlcheck", *workers)
    told = sorted((repo.path / "verdicts.txt").read_text().splitlines())
    assert len(told) == len(set(told)) == 8
    assert "cut gradients_arrive failed" in told
    keys = '["device", "platform", "pytest_dlcheck", "python", "started", "torch"]'
    assert (repo.path / "run.json").read_text() == f"[8, {keys}]"


def test_what_they_are_told_cannot_be_changed(repo):
    repo.append("conftest.py", "\ndef pytest_dlcheck_verdict(finding):\n    finding.recipe = 'other'\n")
    result = repo.check()
    result.stdout.fnmatch_lines(["healthy * 4 ok *", "WARNING: *raised FrozenInstanceError: *"])


@pytest.mark.parametrize("hook", ["pytest_dlcheck_verdict(finding)", "pytest_dlcheck_run(findings)"])
def test_one_that_raises_is_one_warning_that_names_it_and_changes_nothing(repo, hook):
    expected = repo.check("-p", "no:cacheprovider").parseoutcomes()
    repo.append("conftest.py", f"\ndef {hook}:\n    raise ConnectionError('no tracker')\n")
    result = repo.check()
    assert result.parseoutcomes() == expected
    assert result.ret == 1
    told = [line for line in result.outlines if line.startswith("WARNING: ")]
    name = hook.partition("(")[0]
    assert len(told) == 1
    assert re.fullmatch(
        rf"WARNING: {name} in \S*conftest.py raised ConnectionError: no tracker", told[0]
    )


def test_one_that_raises_keeps_nothing_from_the_others(repo):
    repo.append("conftest.py", SINK + BROKEN)
    repo.check()
    assert len((repo.path / "verdicts.txt").read_text().splitlines()) == 8


def test_without_dlcheck_they_are_known_and_quiet(repo):
    repo.append("conftest.py", SINK)
    repo.write({"test_plain.py": "def test_ordinary():\n    pass\n"})
    assert repo.run("test_plain.py").ret == 0
    assert not (repo.path / "run.json").exists()
