"""The command ``dlcheck``: what the checks are."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from pytest_dlcheck.check import OPT_IN, registry
from pytest_dlcheck.cli import main


def invoke(*args):
    return CliRunner().invoke(main, args)


def test_checks_lists_every_check_with_its_first_line():
    lines = invoke("checks").output.partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in lines] == list(registry())
    for line, check in zip(lines, registry().values(), strict=True):
        assert line.split()[1] == check.family + "*" * (check.family in OPT_IN)
        assert line.endswith(check.summary)


def test_checks_says_which_are_run_only_where_they_are_asked_for():
    output = invoke("checks").output
    opt_in = any(check.family in OPT_IN for check in registry().values())
    assert ("* only where asked for by name: --dlcheck-select=default," in output) == opt_in


@pytest.mark.parametrize("name", list(registry()))
def test_explain_tells_the_docstring(name):
    result = invoke("explain", name)
    assert result.exit_code == 0
    assert result.output.startswith(f"{name}  ({registry()[name].family})")
    assert registry()[name].summary in result.output


def test_explain_takes_a_family():
    output = invoke("explain", "dynamics").output
    names = [name for name, check in registry().items() if check.family == "dynamics"]
    assert all(name in output for name in names)


def test_an_unknown_check_is_a_usage_error_with_the_nearest():
    result = invoke("explain", "gradient_flow")
    assert result.exit_code == 2
    assert "unknown name 'gradient_flow', did you mean 'gradients_flow'?" in result.output
    assert "valid: " in result.output
