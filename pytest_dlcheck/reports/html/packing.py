"""All cards of a page, each packed by itself, as fine as the room for them allows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pytest_dlcheck.finding import Finding
from pytest_dlcheck.reports.contents import Contents
from pytest_dlcheck.reports.html import embed
from pytest_dlcheck.reports.html.cards import BUDGETS, card
from pytest_dlcheck.reports.html.curves import Budget
from pytest_dlcheck.reports.html.history import History

_SAMPLE = 20
"""Recipes that tell how large the cards of all of them will be."""


@dataclass(frozen=True, slots=True)
class Packer:
    """Packs the cards of a session.

    Attributes:
        groups: findings by recipe, in the order of the cards.
        contents: what the journal holds.
        lines: what was measured before, by recipe.
    """

    groups: Mapping[str, Sequence[Finding]]
    contents: Contents
    lines: Mapping[str, Sequence[History]] = field(default_factory=dict)

    def packed(self, room: int) -> list[str]:
        """Every card, in base64.

        Args:
            room: bytes that they may have together; the coarsest cards may take more.
        """
        names = list(self.groups)
        some = names[:: max(1, len(names) // _SAMPLE)]
        *finer, coarsest = BUDGETS
        for budget in finer:
            # Packing takes its time: a few of very many tell whether the rest would fit.
            if _size(self._cards(some, budget)) * len(names) > room * len(some):
                continue
            made = list(self._cards(names, budget))
            if _size(made) <= room:
                return made
        return list(self._cards(names, coarsest))

    def _cards(self, names: Iterable[str], budget: Budget) -> Iterable[str]:
        contents = self.contents
        for name in names:
            traces, asked = contents.traces.get(name, ()), contents.recipes.get(name, {})
            made = card(self.groups[name], traces, asked, self.lines.get(name, ()), budget)
            yield embed.packed(made)


def _size(packed: Iterable[str]) -> int:
    return sum(map(len, packed))
