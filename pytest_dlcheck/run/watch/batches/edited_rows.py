"""What is known of an array whose rows are read: those that changed, and changed again. No judgement."""

from __future__ import annotations

import math
import weakref
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.watch.batches.holdings import SHORT, Holding
from pytest_dlcheck.trace import Row

READS = 2
"""Reads of a pass that are looked at in any case, in the first"""
PASSES = 2
"""passes over an array; and"""
SAMPLES = 32
"""Samples of a read that are looked at: the first ones."""
WITNESSES = 256
"""Rows that have changed and are waited for in later passes."""
LATER = 2
"""more passes, where something has changed."""


@dataclass
class Change:
    """A row that changed while it was read.

    Attributes:
        number: of the pass.
        before: some of its numbers, shape ``[columns]``.
        after: the same, afterwards.
        again: the same after it was read in a later pass; None where that did not happen yet.
    """

    number: int
    before: Tensor
    after: Tensor
    again: Tensor | None = None


@dataclass
class Array:
    """What is known of one array.

    Attributes:
        owner: lives as long as it.
        name: where it is kept.
        passes: the numbers of those in which it was looked at.
        changes: by row.
        is_given: whether samples are made of the rows that changed.
    """

    owner: weakref.ref[Any]
    name: str
    passes: set[int] = field(default_factory=set)
    changes: dict[int, Change] = field(default_factory=dict)
    is_given: bool = False

    def is_known(self, number: int) -> bool:
        """Whether nothing is to be learned in a pass."""
        enough = PASSES + LATER if self.changes else PASSES
        return len(self.passes) >= enough and number not in self.passes

    def wanted(self, holding: Holding, reads: int, number: int) -> list[int]:
        """Places of samples to look at, each of another row."""
        first = next(iter(self.changes.values()), None)
        places = {row: place for place, row in enumerate(holding.rows)}
        if first is None:
            return list(places.values())[:SAMPLES] if reads < READS else []
        if first.number == number:
            fresh = [place for row, place in places.items() if row not in self.changes]
            return fresh[:SAMPLES] if len(self.changes) < WITNESSES else []
        return [place for row, place in places.items() if self._waits(row, number)]

    def add(self, row: int, number: int, before: Tensor, after: Tensor) -> None:
        """What was seen of a row."""
        change = self.changes.get(row)
        if change is None:
            if not torch.equal(before, after):
                self.changes[row] = Change(number, before, after)
        elif torch.equal(change.after, before):
            change.again = after
        else:
            del self.changes[row]  # somebody sets it: what reading does to it is undone

    def row(self) -> Row | None:
        """Of the rows that changed in two passes; None where there are none.

        ``drift`` is the cosine between the first change and the next: about 0 where noise is added up,
        -0.5 and below where each is drawn anew; ``first`` is the first's size over that of the next, and
        ``size`` that of the next over what is stored (ratios).
        """
        changes = [c for c in self.changes.values() if c.again is not None]
        width = Counter(len(c.after) for c in changes).most_common(1)  # a list's rows may be of any size
        changes = [c for c in changes if len(c.after) == width[0][0]]
        twice = [c for c in changes if c.again is not None and not torch.equal(c.again, c.after)]
        if not twice:
            return None
        before, after, again = (
            torch.stack([getattr(change, name) for change in twice])
            for name in ("before", "after", "again")
        )
        one, other = after - before, again - after
        size = float(one.norm() * other.norm())
        if not (math.isfinite(size) and size):
            return None
        return Row(
            name=self.name,
            rows=len(twice),
            passes=len(self.passes),
            given=self.is_given,
            counts=one.shape[1] < SHORT and len(torch.unique(one)) < SHORT,
            drift=float((one * other).sum()) / size,
            first=float(one.norm()) / float(other.norm()),
            size=float(other.norm()) / max(float(after.norm()), 1e-30),
        )

    def _waits(self, row: int, number: int) -> bool:
        change = self.changes.get(row)
        return change is not None and change.again is None and change.number != number
