"""The README tells what is so: its commands, its checks, its options, its fields."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from pytest_dlcheck import Recipe
from pytest_dlcheck.check import registry
from pytest_dlcheck.policy_values import READERS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_check_stands_there_with_its_own_first_line():
    rows = [f"| `{name}` | {check.family} | {check.summary} |" for name, check in registry().items()]
    assert (
        re.findall(
            r"^\| `\w+` \| (?:contract|data|dynamics|learning|loop|tuning|gate) \|.*$",
            README,
            re.MULTILINE,
        )
        == rows
    )


@pytest.mark.parametrize("field", fields(Recipe), ids=lambda f: f.name)
def test_every_field_of_a_recipe_stands_there(field):
    assert f"`{field.name}`" in README


@pytest.mark.parametrize("key", sorted(READERS))
def test_every_policy_stands_there(key):
    assert f"{key}=" in README


def test_every_option_stands_there(pytester):
    options = set(
        re.findall(r"^  (--dlcheck[\w-]*)", pytester.runpytest("--help").stdout.str(), re.MULTILINE)
    )
    assert options
    assert {option for option in options if option not in README} == set()


def test_every_ini_key_stands_there_by_itself_or_as_an_option(pytester):
    told = pytester.runpytest("--help").stdout.str()
    keys = set(re.findall(r"^  (dlcheck\w*) \(", told, re.MULTILINE))
    assert keys
    lacking = {key for key in keys if key not in README and f"--{key.replace('_', '-')}" not in README}
    assert lacking == set()


def test_ci_runs_what_the_readme_says():
    commands = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)
    assert len(commands) == 2
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for command in commands:
        assert command.split(" && ")[-1].replace(".venv/bin/", "") in script
    assert "pip install --quiet -c constraints.txt -e '.[dev,examples]'" in script
