"""Examining a recipe: the whole battery, once per factory and number of steps."""

from __future__ import annotations

from functools import cache

from pytest_dlcheck.diagnosis import Diagnosis
from pytest_dlcheck.policy import Policy
from pytest_dlcheck.session import Examination, Subject, default_checks

from .case import Factory


@cache
def examined(factory: Factory, steps: int) -> Diagnosis:
    """The verdicts of all checks, causes before consequences."""
    policy = Policy(steps=steps, device="cpu")
    return Examination(Subject("clinic", policy, default_checks())).conclude(factory)
