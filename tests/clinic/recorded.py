"""The dev cases' traces, recorded, so that a threshold's misses stand beside its false alarms."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_dlcheck.diagnosis import diagnose_verdicts
from pytest_dlcheck.session import default_checks
from pytest_dlcheck.trial import Terms
from pytest_dlcheck.verdict import Outcome
from tests.zoo.traces import FOLDER, Animal

from .case import Case, Factory
from .cases import all_cases
from .examine import Told, judge, opted_in, said


def dev_cases() -> list[Case]:
    """The faults that may be looked at."""
    return [c for c in all_cases().values() if c.split == "dev" and c.finding != "invisible"]


def record() -> None:
    """Run what has not been recorded: every dev case and its twin."""
    for case in dev_cases():
        for factory in (case.healthy, case.sick):
            _told(case, factory, run=True)


def missed() -> Iterator[tuple[Case, str]]:
    """The recorded dev cases that are not named now, and what is said of them instead."""
    for case in dev_cases():
        if not all((FOLDER / _name(case, factory)).exists() for factory in (case.healthy, case.sick)):
            continue
        sick, twin = (_told(case, factory, run=False) for factory in (case.sick, case.healthy))
        verdict = judge(case, sick, twin)
        if not verdict.named:
            causes = [f"{check}: {text[:200]}" for check, text in sick.causes]
            yield case, "; ".join(causes) if verdict.found else "nothing"


def _name(case: Case, factory: Factory) -> str:
    which = case.name if factory is case.sick else f"twin {case.healthy.__name__} {case.steps}"
    return f"clinic {which}".replace(" ", "_")


def _told(case: Case, factory: Factory, *, run: bool) -> Told:
    animal = Animal(_name(case, factory), factory if run else None, Terms(steps=case.steps))
    wanted = {*default_checks(), *opted_in(case)}
    verdicts = [verdict for verdict in animal.verdicts() if verdict.check in wanted]
    unrecorded = Outcome.INCONCLUSIVE
    known = [v for v in verdicts if v.outcome is not unrecorded or "not recorded" not in v.because]
    return said(diagnose_verdicts(known), seconds=0.0)
