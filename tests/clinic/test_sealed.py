"""Recipes by somebody who had seen no code, faulty and healthy.

    pytest -m slow tests/clinic/test_sealed.py

They were measured once before anything was made for them, and are open since; ``sealed/expected.py``
says what came out then, and what is told by advice only, or not at all, today.
"""

from __future__ import annotations

import pytest
import torch

from pytest_dlcheck import diagnose

from .sealed.expected import ADVISED, UNFOUND
from .sealed.faults import FAULTS
from .sealed.healthy import HEALTHY

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def diagnosed(make, **given):
    torch.manual_seed(0)
    return diagnose(make(**given))


def failures(report):
    return [f.verdict for f in report.findings if f.fails]


@pytest.mark.parametrize(
    ("make", "words"), [pytest.param(make, words, id=make.__name__) for make, words, _ in FAULTS]
)
def test_what_was_named_is_named(make, words):
    if make.__name__ in UNFOUND:
        pytest.xfail("not told, or by another name")
    report = diagnosed(make, mistake=True)
    causes = [f.verdict for f in report.findings if f.fails and not f.because_of][:1]
    said = [f"{v.check}: {v.because} {v.cause} {[str(s) for s in v.suspects]}" for v in causes]
    if make.__name__ in ADVISED:
        assert not causes
        said = [advice for f in report.findings for advice in f.verdict.advice]
    assert any(word in sentence.lower() for word in words for sentence in said), said


@pytest.mark.parametrize("make", [make for make, _, _ in FAULTS], ids=lambda make: make.__name__)
def test_its_twin_raises_no_alarm(make):
    assert failures(diagnosed(make, mistake=False)) == []


@pytest.mark.parametrize("make", HEALTHY, ids=lambda make: make.__name__)
def test_a_healthy_one_raises_no_alarm(make):
    assert failures(diagnosed(make)) == []
