"""Judging recipes by the check that a test file is named after."""

from __future__ import annotations

import pytest
import torch

from pytest_dlcheck.policy import Policy
from pytest_dlcheck.session import Examination, Subject, default_checks


@pytest.fixture(autouse=True)
def same_draws():
    """What a test draws itself does not depend on the tests before it."""
    torch.manual_seed(0)


def examination(factory, checks, **policy):
    asked = Policy(**{"steps": 60, "device": "cpu", **policy})
    return Examination(Subject(getattr(factory, "__name__", "recipe"), asked, checks))


@pytest.fixture
def verdict_on(request):
    """Gives the verdict on what a factory builds, with the second look that the check may ask for."""
    own = request.path.stem.removeprefix("test_")

    def verdict_on(factory, **policy):
        return examination(factory, (own,), **policy).judge(own, factory)

    return verdict_on


@pytest.fixture
def diagnosis_of():
    """Gives the verdicts of all checks on what a factory builds, causes before consequences."""

    def diagnosis_of(factory, **policy):
        return examination(factory, default_checks(), **policy).conclude(factory)

    return diagnosis_of
