"""Recipes of one name in several files stay apart, in the table and in the journal."""

import pytest

from pytest_dlcheck.reports import journal

pytestmark = pytest.mark.usefixtures("quick_python")

RECIPE = """
@recipe
def model():
    return made({})
"""


def test_recipes_of_one_name_are_told_by_their_file(project):
    project.recipes(RECIPE.format(""), "test_one.py")
    project.recipes(RECIPE.format("Net(cut=True)"), "test_two.py")
    result = project.check("--dlcheck-report", "json:j.jsonl")
    result.stdout.fnmatch_lines(["*test_one.py::model*", "*test_two.py::model*"])
    contents = journal.read(project.path / "j.jsonl")
    assert set(contents.recipes) == {"test_one.py::model", "test_two.py::model"}
    assert set(contents.traces) == set(contents.recipes)


def test_a_name_that_stands_alone_is_short(project):
    project.recipes(RECIPE.format(""))
    project.check("--dlcheck-report", "json:j.jsonl")
    assert set(journal.read(project.path / "j.jsonl").recipes) == {"model"}


def test_collecting_leaves_a_journal_alone(project):
    project.recipes(RECIPE.format(""))
    project.write({"j.jsonl": "kept"})
    project.run("--dlcheck", "--collect-only", "--dlcheck-report", "json:j.jsonl")
    assert (project.path / "j.jsonl").read_text() == "kept"


def test_a_wrong_marker_is_told_under_xdist_too(project):
    project.recipes("@recipe\n@pytest.mark.dlcheck(stepz=3)\ndef model():\n    return made()\n")
    result = project.pytester.runpytest_subprocess("--dlcheck", "-n", "2", "-p", "no:randomly")
    assert result.ret not in (0, 5)
    result.stdout.fnmatch_lines(["*unknown policy 'stepz'*"])
