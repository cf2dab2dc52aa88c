"""In a step of GitHub Actions: the summary in its place, causes as annotations, and only there."""

from __future__ import annotations

import pytest

RECIPES = """
@recipe
def cut():
    return made(Net(cut=True))
"""


@pytest.fixture
def repo(project, monkeypatch):
    project.recipes(RECIPES)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path / "step.md"))
    monkeypatch.setenv("GITHUB_WORKSPACE", str(project.path.parent))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    return project


def test_the_summary_goes_where_the_step_wants_it(repo):
    repo.check("--dlcheck-report=markdown")
    assert "## dlcheck: 1 problem in 1 recipe" in (repo.path / "step.md").read_text("utf-8")
    assert not (repo.path / "dlcheck.md").exists()


def test_a_place_of_ones_own_comes_first(repo):
    repo.check("--dlcheck-report=markdown:mine.md")
    assert (repo.path / "mine.md").exists()
    assert not (repo.path / "step.md").exists()


@pytest.mark.parametrize("quiet", [(), ("-q",), ("-qq",)])
def test_causes_are_annotations_at_the_recipe(repo, quiet):
    lines = repo.check("--dlcheck-report=markdown", *quiet).outlines
    (command,) = (line for line in lines if line.startswith("::"))
    place = f"file={repo.path.name}/test_it.py,line=5,title=cut%3A%3Agradients_arrive"
    assert command.startswith(
        f"::error {place}::2 of 4 parameters receive no gradient, at most 0 may%0A"
    )


def test_no_report_no_annotations(repo):
    assert not [line for line in repo.check().outlines if line.startswith("::")]


def test_elsewhere_no_annotations(repo, monkeypatch):
    monkeypatch.delenv("GITHUB_ACTIONS")
    lines = repo.check("--dlcheck-report=markdown").outlines
    assert not [line for line in lines if line.startswith("::")]
