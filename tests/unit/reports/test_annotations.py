"""GitHub's annotations: causes alone, at most ten, with every command escaped."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_dlcheck.reports.annotations import commands, commands_here
from pytest_dlcheck.reports.contents import Contents

COMMAND = re.compile(r"::error (?P<properties>[^\n\r]*?)::(?P<message>[^\n\r]*)")


def read(line):
    """Properties and message, as GitHub's runner reads them."""
    match = COMMAND.fullmatch(line)
    assert match is not None, line
    pairs = dict(pair.split("=", 1) for pair in match["properties"].split(","))
    return {k: _plain(v) for k, v in pairs.items()}, _plain(match["message"])


def _plain(text):
    for code, mark in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        text = text.replace(code, mark)
    return text


def test_a_cause_is_told_at_its_recipe_with_remedy_and_consequences(contents):
    (line,) = commands(contents)
    properties, message = read(line)
    assert properties == {"file": "tests/test_it.py", "line": "7", "title": "cut::gradients_flow"}
    assert message.splitlines() == [
        "2 of 4 parameters receive no gradient (at most 0 may)",
        "likely cause: the graph is cut between `encoder` and `head`",
        "remedy: remove .detach() there",
        "it explains 1 more failed checks",
    ]


@pytest.mark.parametrize("name", ["a::error::b", "100%", "x,y=z", "one\ntwo\r", "\x1b[2J", "\udcff", ""])
def test_no_name_can_write_a_command_of_its_own(make_contents, name):
    contents = make_contents(name)
    verdict = replace(contents.findings[1].verdict, because=f"found {name}", remedy=name)
    contents.findings[1] = replace(contents.findings[1], verdict=verdict)
    (line,) = commands(contents)
    assert len(line.splitlines()) == 1
    properties, _ = read(line)
    assert set(properties) == {"file", "line", "title"}
    assert line.encode("utf-8")


def test_ten_at_most_and_the_last_counts_the_rest(make_contents):
    assert len(commands(make_contents(*map(str, range(10))))) == 10
    found = commands(make_contents(*map(str, range(30))))
    assert len(found) == 10
    assert read(found[-1])[1] == "21 more causes are told in the summary of this job"


def test_files_are_told_from_the_repository(contents, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", "/home/runner/work/repo")
    (line,) = commands_here(contents, Path("/home/runner/work/repo/packages/models"))
    assert read(line)[0]["file"] == "packages/models/tests/test_it.py"


def test_elsewhere_nothing_is_printed(contents, monkeypatch):
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    assert commands_here(contents, Path("/repo")) == []


def test_nothing_wrong_is_nothing_to_tell():
    assert commands(Contents()) == []
