"""From checks to distinct trials, and to what each trial must record. Nothing is run here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pytest_dlcheck.check import Check
from pytest_dlcheck.trial import Terms, Trial


@dataclass(frozen=True, slots=True)
class PlannedTrial:
    """A trial that some checks ask for.

    Attributes:
        trial: what is run, once.
        wanted: the channels and facts that it must record for them.
    """

    trial: Trial
    wanted: frozenset[str]


ALWAYS = frozenset({"loss", "seconds", "recipe", "memory"})
"""What every trial records, for the tables at the end."""


def plan(checks: Iterable[Check], terms: Terms) -> dict[Trial, PlannedTrial]:
    """The distinct trials that the checks ask for, in the order in which they are first wanted.

    Args:
        checks: who asks.
        terms: the recipe's policy, as far as trials go.
    """
    wanted: dict[Trial, frozenset[str]] = {}
    for check in checks:
        for trial in check.trials(terms):
            wanted[trial] = wanted.get(trial, ALWAYS) | needs(check)
    return {trial: PlannedTrial(trial, names) for trial, names in wanted.items()}


def needs(check: Check) -> frozenset[str]:
    """The channels and facts that a check looks at."""
    return check.reads | check.glances
