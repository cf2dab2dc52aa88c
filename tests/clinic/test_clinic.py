"""Every planted fault is the first cause found, at its place; its healthy twin raises no alarm."""

from __future__ import annotations

import pytest

from pytest_dlcheck.session import all_checks

from . import faults_contract, faults_data, faults_gradients, faults_numbers
from .case import Case
from .examine import examined

CASES = [
    case
    for module in (faults_contract, faults_data, faults_gradients, faults_numbers)
    for case in vars(module).values()
    if isinstance(case, Case)
]
TWINS = dict.fromkeys((case.healthy, case.steps) for case in CASES)


FAILURES = [case for case in CASES if case.finding == "failure"]
ADVISED = [case for case in CASES if case.finding == "advice"]


def _name(value):
    name = getattr(value, "name", getattr(value, "__name__", str(value)))
    return name.replace(" ", "_")


@pytest.mark.parametrize("case", FAILURES, ids=_name)
def test_the_fault_is_the_first_cause_and_its_place_is_named(case):
    diagnosis = _diagnosed(case)
    assert diagnosis.causes, "nothing failed"
    first = diagnosis.causes[0]
    assert first.check in case.checks, [f"{v.check}: {v.because}" for v in diagnosis.causes]
    assert case.site in _places(first)


@pytest.mark.parametrize("case", ADVISED, ids=_name)
def test_what_could_be_on_purpose_is_advised_on_and_no_alarm(case):
    diagnosis = _diagnosed(case)
    advice = [line for v in diagnosis.verdicts if v.check in case.checks for line in v.advice]
    assert any(case.site in line for line in advice)
    assert diagnosis.causes == ()


@pytest.mark.parametrize(("healthy", "steps"), TWINS, ids=_name)
def test_the_healthy_twin_raises_no_alarm(healthy, steps):
    assert [f"{v.check}: {v.because}" for v in examined(healthy, steps).causes] == []


def test_names_are_unique_and_both_halves_are_populated():
    assert len({case.name for case in CASES}) == len(CASES)
    assert {case.split for case in CASES} == {"dev", "test"}


def _diagnosed(case):
    if not set(case.checks) & set(all_checks()):
        pytest.skip(f"{' or '.join(case.checks)} is not built yet")
    return examined(case.sick, case.steps)


def _places(verdict):
    suspects = [f"{s.site} {s.finding}" for s in verdict.suspects]
    return " ".join([verdict.cause, *suspects])
