"""Plots in JUnit's file, by the convention that GitLab and Jenkins read, and only when asked for."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

RECIPES = """
@recipe
def healthy():
    return made()

@recipe
def cut():
    return made(Net(cut=True))
"""
LOGGING = ("-o", "junit_logging=system-out", "-o", "dlcheck_junit_attachments=plots")


@pytest.fixture
def repo(project, monkeypatch):
    monkeypatch.delenv("CI_PROJECT_DIR", raising=False)
    project.recipes(RECIPES)
    return project


def attached(repo):
    """Test case -> the paths that its output names, of all recipes together."""
    found = {}
    for case in ET.parse(repo.path / "out.xml").getroot().iter("testcase"):
        text = "".join(out.text or "" for out in case.iter("system-out"))
        if paths := re.findall(r"^\[\[ATTACHMENT\|(.+)\]\]$", text, flags=re.MULTILINE):
            found.setdefault(case.get("name"), []).extend(paths)
    return found


@pytest.mark.parametrize(
    "workers", [(), pytest.param(("-n2",), marks=pytest.mark.slow)], ids=["alone", "xdist"]
)
@pytest.mark.usefixtures("quick_python")
def test_causes_and_what_has_trained_name_their_recipes_plot(repo, workers):
    if workers:
        pytest.importorskip("xdist")
    repo.pytester.runpytest_subprocess("--dlcheck", "--junitxml=out.xml", *LOGGING, *workers)
    found = attached(repo)
    assert "plots/cut.svg" in found["gradients_arrive"]
    assert any("plots/healthy.svg" in paths for paths in found.values())
    for path in {path for paths in found.values() for path in paths}:
        assert ET.parse(repo.path / path).getroot().tag.endswith("svg")


def test_gitlab_gets_them_from_the_folder_of_the_project(repo, monkeypatch):
    monkeypatch.setenv("CI_PROJECT_DIR", str(repo.path.parent))
    repo.check("--junitxml=out.xml", *LOGGING)
    assert f"{repo.path.name}/plots/cut.svg" in attached(repo)["gradients_arrive"]


def test_unasked_there_are_none(repo):
    repo.check("--junitxml=out.xml", *LOGGING[:2])
    assert attached(repo) == {}
    repo.check(*LOGGING)
    assert not (repo.path / "plots").exists()


def test_a_file_that_would_not_name_them_is_told_before_any_training(repo):
    result = repo.check("--junitxml=out.xml", *LOGGING[2:])
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*set junit_logging = system-out beside it*"])


def test_numbers_stand_in_the_failure_too_for_readers_without_properties(repo):
    repo.check("--junitxml=out.xml")
    texts = [failure.text for failure in ET.parse(repo.path / "out.xml").getroot().iter("failure")]
    assert any("measured       parameters without gradient 2 (must be <= 0)" in text for text in texts)
