"""Suspects with one finding, gathered by the modules they lie in: sixty parameters are one place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from pytest_dlcheck.verdict import Suspect

MANY = 6
"""Places with one finding above which modules further out are named instead."""
_NAMED = 3


def gathered(suspects: Iterable[Suspect]) -> tuple[Suspect, ...]:
    """The suspects; of those that share their finding, the ones in one module become one.

    A module is named where two or more of its parts are under the same suspicion; which they are, or
    how many, its finding says. The order is that of the first of each.
    """
    alike: dict[tuple[str, str], list[str]] = {}
    for suspect in suspects:
        alike.setdefault((suspect.finding, suspect.remedy), []).append(suspect.site)
    return tuple(
        _as_one(Suspect(sites[0], finding, remedy), module, sites)
        for (finding, remedy), all_sites in alike.items()
        for module, sites in _by_module(list(dict.fromkeys(all_sites))).items()
    )


def _as_one(first: Suspect, module: str, sites: Sequence[str]) -> Suspect:
    if len(sites) == 1:
        return first
    names = [site.removeprefix(f"{module}.") for site in sites]
    parts = ", ".join(names) if len(names) <= _NAMED else f"{len(names)} places, such as {names[0]}"
    return replace(first, site=module, finding=f"{first.finding} ({parts})".lstrip())


def _by_module(sites: list[str]) -> dict[str, list[str]]:
    """By the modules right around them; further out where that leaves too many."""
    groups = _cut(sites, None)
    depth = max(site.count(".") for site in sites) - 1
    while len(groups) > MANY and depth > 0:
        groups = _cut(sites, depth)
        depth -= 1
    return groups


def _cut(sites: list[str], depth: int | None) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for site in sites:
        around = site.split(".")[:-1][:depth]
        groups.setdefault(".".join(around) or site, []).append(site)
    return groups
