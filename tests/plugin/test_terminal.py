"""What is read in the terminal: the diagnosis of a failure, the table, causes; plain and in colour."""

from __future__ import annotations

import re

import pytest

RECIPES = """
@recipe
def healthy():
    return made()

@recipe
def a_recipe_with_quite_a_long_name_that_goes_on_and_on_for_longer_than_most_would():
    return made(Net(cut=True), loss=lambda o, t: 100 * nn.functional.cross_entropy(o, t))
"""
LONG = "a_recipe_with_quite_a_long_name_that_goes_on_and_on_for_longer_than_most_would"


@pytest.fixture
def repo(project, monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR", "PY_COLORS"):
        monkeypatch.delenv(name, raising=False)
    project.recipes(RECIPES)
    return project


def test_a_failure_is_a_diagnosis_and_no_stack_trace(repo):
    text = repo.check().stdout.str()
    failure = text.partition("= FAILURES =")[2].partition("= dlcheck =")[0]
    lines = failure.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("2 of 4 parameters"))
    assert lines[start : start + 6] == [
        "2 of 4 parameters receive no gradient, at most 0 may",
        "  encoder   none (weight, bias)",
        "            -> let it take part",
        "likely cause   the graph is cut",
        "remedy         remove .detach()",
        "measured       parameters without gradient 2 (must be <= 0)",
    ]
    assert "Error" not in failure
    assert ".py" not in failure


def test_a_consequence_is_one_line(repo):
    text = repo.check("--dlcheck-select=learning,dynamics").stdout.str()
    body = re.search(r"_ \S+::loss_is_low _+\n(.*?)\n[=_]", text, flags=re.DOTALL)
    assert body is not None
    assert re.fullmatch(r"because of gradients_arrive: the final loss [^\n]*", body.group(1))


@pytest.mark.parametrize("stop", [(), ("-x",)])
def test_a_consequence_before_its_cause_tells_that_too(repo, stop, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    items = [f"test_it.py::{LONG}::{check}" for check in ("loss_is_low", "gradients_arrive")]
    text = repo.check(*items, *stop).stdout.str()
    body = re.search(r"_ \S+::loss_is_low _+\n(.*?)\n[=_]", text, flags=re.DOTALL)
    assert body is not None
    lines = body.group(1).splitlines()
    assert lines[0].startswith("because of gradients_arrive: the final loss")
    assert lines[1:5] == [
        "  encoder   none (weight, bias)",
        "            -> let it take part",
        "likely cause   the graph is cut",
        "remedy         remove .detach()",
    ]
    if stop:
        assert f"{LONG}::loss_is_low  the graph is cut" in text


def test_the_short_summary_says_why(repo, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    repo.check().stdout.fnmatch_lines(
        [
            f"FAILED test_it.py::{LONG}::gradients_arrive - 2 of 4 parameters receive no gradient*",
            f"FAILED test_it.py::{LONG}::loss_is_low - because of gradients_arrive: the final loss*",
        ]
    )


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_the_table_keeps_to_the_width(repo, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    text = repo.check().stdout.str().partition("= dlcheck =")[2].partition("short test summary")[0]
    table = text.split("\n\n")[0].splitlines()[1:]
    assert any(line.startswith("  inspect ") for line in table) == (width >= 80)
    assert max(map(len, table)) <= width
    assert table[0].split()[:2] == ["recipe", "verdicts"]
    assert ("samples/s" in table[0]) == (width >= 120)
    if width >= 80:
        assert any(re.match(r"healthy +4 ok +[▁-█]{4} 0\.\d+ → 0\.\d+", line) for line in table)


def test_causes_come_once_with_what_follows_from_them(repo, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    text = repo.check().stdout.str()
    assert f"causes:\n{LONG}::gradients_arrive  the graph is cut\n    and so also: loss_is_low\n" in text


def test_colours_only_where_they_are_wanted(repo, monkeypatch):
    assert "\x1b[" not in repo.check().stdout.str()
    assert "\x1b[" not in repo.check("--color=no").stdout.str()
    coloured = repo.check("--color=yes").stdout.str()
    assert "\x1b[31m" in coloured.partition("dlcheck")[2]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in repo.check().stdout.str()


def test_quiet_is_quiet_unless_something_is_wrong(repo):
    assert "dlcheck" not in repo.check("-q", "-k", "healthy").stdout.str()
    assert (
        "= dlcheck =" in repo.check("-q", "-k", "healthy").stdout.str() + repo.check("-q").stdout.str()
    )


def test_quiet_tells_what_is_open_and_very_quiet_does_not(project):
    project.recipes("@recipe\ndef mine():\n    return made(train_data=[(X[:1], Y[:1])])\n")
    told = "mine::batch_is_plenty  inconclusive: 1 sample says nothing"
    assert told in project.check("-q").stdout.str()
    assert told not in project.check("-qq").stdout.str()


def test_captured_output_of_a_factory_is_shown_with_its_failure(project):
    project.recipes("@recipe\ndef mine():\n    print('READING')\n    return None\n")
    result = project.check("--dlcheck-select=data")
    result.stdout.fnmatch_lines(["*Captured stdout call*", "READING"])


def test_without_a_terminal_plugin_it_runs(repo):
    assert repo.check("-p", "no:terminal").ret == 1
