"""OpenMetrics: the text follows the specification's grammar, whatever names and numbers it holds."""

from __future__ import annotations

import math
import re

import pytest

from pytest_dlcheck.finding import Finding
from pytest_dlcheck.reports import openmetrics
from pytest_dlcheck.reports.contents import Contents
from pytest_dlcheck.verdict import Measure, Outcome, Verdict

NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
NUMBER = r"(?:NaN|[+-]Inf|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)"
SAMPLE = re.compile(rf"{NAME}\{{{LABEL}(?:,{LABEL})*\}} {NUMBER}")
ABOUT = re.compile(rf"# (?:TYPE {NAME} gauge|HELP {NAME} [^\n]*|UNIT {NAME} [a-z_]+)")


def parsed(text):
    """The samples by name and labels; every line must be of the grammar, and be there once."""
    assert text.endswith("\n# EOF\n") or text == "# EOF\n"
    lines = text.removesuffix("# EOF\n").splitlines()
    samples = {}
    for line in lines:
        assert ABOUT.fullmatch(line) or SAMPLE.fullmatch(line), line
        if not line.startswith("#"):
            key, _, value = line.rpartition(" ")
            assert key not in samples
            samples[key] = value
    return samples


def measured(name, value):
    measure = Measure(name, value, "ratio", bound=1.0)
    verdict = Verdict(check="causality", outcome=Outcome.PASSED, because="", measures=(measure,))
    return Contents(findings=[Finding(name, verdict)])


def test_counts_measures_and_trials_are_told(contents):
    samples = parsed(openmetrics.text(contents))
    assert samples['dlcheck_checks{recipe="cut",outcome="failed"}'] == "2"
    assert samples['dlcheck_checks{recipe="cut",outcome="errored"}'] == "0"
    measure = 'recipe="cut",check="causality",measure="change",unit="ratio"'
    assert samples[f"dlcheck_measure{{{measure}}}"] == "0.123"
    assert samples[f'dlcheck_bound{{{measure},sense="<="}}'] == "1"
    assert samples['dlcheck_final_loss{recipe="cut",trial="train (3 steps)"}'] == "0.5"
    rate = 'dlcheck_throughput_samples_per_second{recipe="cut",trial="train (3 steps)"}'
    assert samples[rate] == "1200"


def test_a_unit_is_the_end_of_its_family_name(contents):
    text = openmetrics.text(contents)
    units = re.findall(r"# UNIT (\S+) (\S+)", text)
    assert units
    assert all(name.endswith(f"_{unit}") for name, unit in units)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (math.nan, "NaN"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (-0.0, "0"),
        (5e-324, "5e-324"),
        (1e300, "1e+300"),
        (0.99951, "1"),
        (123456, "123456"),
        (1 / 3, "0.333"),
    ],
)
def test_numbers_are_rounded_and_spelled_as_the_specification_has_it(value, told):
    samples = parsed(openmetrics.text(measured("m", value)))
    (text,) = (v for key, v in samples.items() if key.startswith("dlcheck_measure{"))
    assert text == told


@pytest.mark.parametrize("name", ['quo"ted', "back\\slash", "new\nline", "\x00", "\udcff", "ünï", ""])
def test_any_name_is_escaped(name):
    text = openmetrics.text(measured(name, 1.0))
    parsed(text)
    assert text.encode("utf-8")


def test_an_empty_journal_is_an_empty_text():
    assert openmetrics.text(Contents()) == "# EOF\n"


def test_the_grammar_can_refuse():
    with pytest.raises(AssertionError):
        parsed('dlcheck_measure{recipe="a"b"} 1\n# EOF\n')
    with pytest.raises(AssertionError):
        parsed("dlcheck_checks 1\n")
