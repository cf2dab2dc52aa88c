"""Causes before consequences: which failed verdict explains which. It judges nothing anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pytest_dlcheck.check import LOCAL, Effect, registry
from pytest_dlcheck.verdict import Outcome, Verdict


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
    explained = {name: root for name in reasons if (root := _root(name, reasons, order)) is not None}
    return Diagnosis(verdicts, explained)


def _bad(verdict: Verdict) -> bool:
    return verdict.outcome in {Outcome.FAILED, Outcome.ERRORED}


def _explains(a: Verdict, b: Verdict) -> bool:
    if a.check == b.check:
        return False
    if b.outcome is Outcome.ERRORED:
        same_error = a.outcome is Outcome.ERRORED and a.cause == b.cause
        return same_error or (a.failed and Effect.RUN in a.leads_to)
    shown = registry()[b.check].shows if b.check in registry() else None
    if not a.failed or shown is None or shown not in a.leads_to:
        return False
    return shown not in LOCAL or _meet(a.sites, b.sites)


def _root(name: str, reasons: Mapping[str, list[str]], order: Mapping[str, int]) -> str | None:
    """The failure at the end of the chain of reasons; of two that explain each other, the first."""
    seen, current = {name}, name
    while True:
        further = [
            reason
            for reason in reasons[current]
            if reason not in seen and not (current in reasons[reason] and order[current] < order[reason])
        ]
        if not further:
            return None if current == name else current
        current = further[0]
        seen.add(current)


def _meet(one: Iterable[str], other: Iterable[str]) -> bool:
    """Whether two sets of sites have a place in common: equal, one inside the other, or the whole."""
    other = tuple(other)
    return any(_inside(a, b) or _inside(b, a) for a in one for b in other)


def _inside(a: str, b: str) -> bool:
    return not b or a == b or a.startswith(f"{b}.")
