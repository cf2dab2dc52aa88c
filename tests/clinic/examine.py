"""Examining a recipe: the whole battery, once per factory, number of steps and checks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from time import perf_counter
from typing import Any

from pytest_dlcheck.diagnosis import Diagnosis
from pytest_dlcheck.policy import Policy
from pytest_dlcheck.session import Examination, Subject, all_checks, default_checks
from pytest_dlcheck.verdict import Verdict

from .case import Case, Factory

LEADING = 3
"""Suspects of a verdict that count as named: who lists every layer has named none."""


@dataclass(frozen=True)
class Told:
    """What a battery says of a recipe, in words.

    Attributes:
        causes: the failures that nothing else explains: check, and the text of its diagnosis.
        advice: suspicions: check, and the line.
        seconds: how long the battery took.
    """

    causes: tuple[tuple[str, str], ...]
    advice: tuple[tuple[str, str], ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """As JSON; ``Told(**...)`` reads it back."""
        return asdict(self)


@dataclass(frozen=True)
class Judged:
    """What became of a case."""

    found: bool
    named: bool
    by: str


@cache
def examined(factory: Factory, steps: int, checks: tuple[str, ...] = ()) -> Diagnosis:
    """The verdicts of the default checks and of some more, causes before consequences."""
    policy = Policy(steps=steps, device="cpu")
    selected = tuple(name for name in all_checks() if name in {*default_checks(), *checks})
    return Examination(Subject("clinic", policy, selected)).conclude(factory)


def opted_in(case: Case) -> tuple[str, ...]:
    """Those of a case's checks that run only where they are asked for."""
    return tuple(name for name in case.checks if name in {*all_checks()} - {*default_checks()})


def told(factory: Factory, steps: int, checks: tuple[str, ...]) -> Told:
    """What the battery says of a recipe, and how long it took."""
    began = perf_counter()
    diagnosis = examined(factory, steps, checks)
    return said(diagnosis, perf_counter() - began)


def said(diagnosis: Diagnosis, seconds: float) -> Told:
    """A diagnosis in words."""
    return Told(
        tuple((verdict.check, diagnosis_text(verdict)) for verdict in diagnosis.causes),
        tuple((v.check, line) for v in diagnosis.verdicts for line in v.advice),
        seconds,
    )


def diagnosis_text(verdict: Verdict) -> str:
    """What a failed verdict names: its cause and its leading suspects."""
    suspects = [f"{s.site} {s.finding}" for s in verdict.suspects[:LEADING]]
    return " | ".join([verdict.because, verdict.cause, *suspects])


def judge(case: Case, sick: Told, twin: Told) -> Judged:
    """Whether the fault was found, and named, by what was said of the sick one only.

    Found: a check fails that does not fail on the twin; where the case may be advised on, advice of a
    check that is expected to give it counts too, if the twin does not get the same. Named: the first
    cause is an expected check's, and one of the case's places or words stands in its diagnosis; what is
    only to be advised on must not fail.
    """
    alarms = {check for check, _ in twin.causes}
    causes = [(check, text) for check, text in sick.causes if check not in alarms]
    advice = [pair for pair in sick.advice if pair[0] in case.checks and pair not in twin.advice]
    if case.finding == "failure":
        advice = []
    naming = [check for check, line in advice if case.names(line)]
    if not causes:
        by = (naming or [check for check, _ in advice])[:1]
        return Judged(bool(by), bool(naming), "".join(by))
    first, text = causes[0]
    named = first in case.checks and case.names(text) and case.finding != "advice"
    return Judged(found=True, named=named, by=first)
