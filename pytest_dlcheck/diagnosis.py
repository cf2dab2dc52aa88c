"""Causes before consequences: which failed verdict explains which. It judges nothing anew."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pytest_dlcheck.check import LOCAL, Effect, registry
from pytest_dlcheck.verdict import Outcome, Verdict

_EVERYWHERE = frozenset({"", "model", "loss", "optimizer", "learning_rate"})
"""Sites that concern every parameter."""


@dataclass(frozen=True)
class Diagnosis:
    """Verdicts on one recipe, set in order.

    Attributes:
        verdicts: all of them, as given.
        explained_by: name of a consequence's check -> name of its cause's check.
    """

    verdicts: tuple[Verdict, ...]
    explained_by: Mapping[str, str]

    @property
    def causes(self) -> tuple[Verdict, ...]:
        """The failures that nothing else explains: the problems there are."""
        return tuple(v for v in self.verdicts if _bad(v) and v.check not in self.explained_by)

    def consequences(self, cause: str) -> tuple[Verdict, ...]:
        """The failures that one cause explains."""
        return tuple(v for v in self.verdicts if self.explained_by.get(v.check) == cause)


def diagnose_verdicts(verdicts: Iterable[Verdict]) -> Diagnosis:
    """Find the causes among failed verdicts on one recipe.

    One failure explains another if it leads to the effect that the other shows; effects that happen
    at a place (gradients, updates) must meet at the same place. Each consequence is led back to the
    first failure that is itself not explained.
    """
    verdicts = tuple(verdicts)
    order = {name: index for index, name in enumerate(registry())}
    failures = sorted(filter(_bad, verdicts), key=lambda v: order.get(v.check, len(order)))
    reasons = {b.check: [a.check for a in failures if _explains(a, b)] for b in failures}
    behind = {name: _reach(name, reasons) for name in reasons}
    causes = _causes(behind)
    explained = {
        name: next(cause for cause in causes if cause in behind[name])
        for name in reasons
        if name not in causes
    }
    return Diagnosis(verdicts, explained)


def needed(verdict: Verdict, among: Iterable[Verdict]) -> Verdict:
    """The verdict without advice on what a failure leads to: the failure's own remedy comes first.

    Args:
        verdict: any verdict.
        among: all verdicts on what was trained there.
    """
    idle = bool(verdict.advice) and not _bad(verdict)
    return replace(verdict, advice=()) if idle and any(_leads_to(a, verdict) for a in among) else verdict


def _leads_to(a: Verdict, b: Verdict) -> bool:
    """Whether a failure leads to what a verdict without places of its own is about."""
    shown = registry()[b.check].shows if b.check in registry() else None
    if not a.failed or shown is None or shown not in a.leads_to:
        return False
    return shown not in LOCAL or any(site in _EVERYWHERE for site in a.sites)


def _bad(verdict: Verdict) -> bool:
    return verdict.outcome in {Outcome.FAILED, Outcome.ERRORED}


def _explains(a: Verdict, b: Verdict) -> bool:
    if a.check == b.check:
        return False
    if b.outcome is Outcome.ERRORED:
        same_error = a.outcome is Outcome.ERRORED and _error(a) == _error(b)
        return same_error or (a.failed and Effect.RUN in a.leads_to)
    shown = registry()[b.check].shows if b.check in registry() else None
    if not a.failed or shown is None or shown not in a.leads_to:
        return False
    return shown not in LOCAL or _meet(a.sites, b.sites)


def _error(verdict: Verdict) -> str:
    """The error without its numbers: trials meet it with batches of different sizes."""
    return re.sub(r"\d+", "#", verdict.cause.partition("\n")[0])


def _reach(name: str, reasons: Mapping[str, list[str]]) -> set[str]:
    """Everything that explains a failure, over any number of steps."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        fresh = [reason for reason in reasons[waiting.pop()] if reason not in found]
        found.update(fresh)
        waiting += fresh
    return found


def _causes(behind: Mapping[str, set[str]]) -> list[str]:
    """The failures at the root, in order; of several that explain each other in a ring, the first."""
    place = {name: index for index, name in enumerate(behind)}
    return [
        name
        for name, others in behind.items()
        if all(name in behind[other] and place[name] <= place[other] for other in others)
    ]


def _meet(one: Iterable[str], other: Iterable[str]) -> bool:
    """Whether two sets of sites have a place in common: equal, one inside the other, or the whole."""
    other = tuple(other)
    return any(_inside(a, b) or _inside(b, a) for a in one for b in other)


def _inside(a: str, b: str) -> bool:
    return b in _EVERYWHERE or a == b or a.startswith(f"{b}.")
