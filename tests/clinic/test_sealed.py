"""Sets of recipes by people who had seen no code, faulty and healthy.

    pytest -m slow tests/clinic/test_sealed.py

Each was measured once before anything was made for it, and is open since; its ``expected.py`` says what
came out then, and what is told by advice only, or not at all, today.
"""

from __future__ import annotations

from importlib import import_module

import pytest
import torch

from pytest_dlcheck import diagnose

SETS = ("sealed", "sealed_second", "sealed_third", "sealed_fourth")


def of(name, part):
    return import_module(f".{name}.{part}", __package__)


FAULTS = [
    pytest.param(make, words, of(name, "expected"), id=f"{name}-{make.__name__}")
    for name in SETS
    for make, words, _ in of(name, "faults").FAULTS
]
HEALTHY = [
    pytest.param(make, id=f"{name}-{make.__name__}")
    for name in SETS
    for make in of(name, "healthy").HEALTHY
]
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def diagnosed(make, **given):
    torch.manual_seed(0)
    return diagnose(make(**given))


def failures(report):
    return [f.verdict for f in report.findings if f.fails]


@pytest.mark.parametrize(("make", "words", "expected"), FAULTS)
def test_what_was_named_is_named(make, words, expected):
    if make.__name__ in expected.UNFOUND:
        pytest.xfail("not told, or by another name")
    report = diagnosed(make, mistake=True)
    causes = [f.verdict for f in report.findings if f.fails and not f.because_of][:1]
    said = [f"{v.check}: {v.because} {v.cause} {[str(s) for s in v.suspects]}" for v in causes]
    if make.__name__ in expected.ADVISED:
        assert not causes
        said = [advice for f in report.findings for advice in f.verdict.advice]
    assert any(word in sentence.lower() for word in words for sentence in said), said


@pytest.mark.parametrize(("make", "words", "expected"), FAULTS)
def test_its_twin_raises_no_alarm(make, words, expected):
    del words, expected
    assert failures(diagnosed(make, mistake=False)) == []


@pytest.mark.parametrize("make", HEALTHY)
def test_a_healthy_one_raises_no_alarm(make):
    assert failures(diagnosed(make)) == []
