"""Samples that were trained on and come again in another scale, as after a second fit of a scaler.

Two samples are one where all their numbers agree after one line for each column, the same for all
samples: a slope and an offset. Compared are the numbers by which sizes are told. No judgement.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pytest_dlcheck.run.watch.batches.rotation import Placed
from pytest_dlcheck.trace import Row

FEW = 16
"""Samples (count) of either side from which on lines can be fitted and checked."""
COLUMNS = 4
"""Columns (count) that tell samples from each other: two samples agree in all of them by no chance."""
BY_CHANCE = 1 / 16
"""Chance that two samples agree in a column (ratio) up to which it tells them."""
SMALL = 1e-3
"""Singular value (ratio to the largest) below which a direction is empty: rounding, and"""
FULL = 0.9
"""share of the directions (ratio) that must not be. Windows of a smooth series fill a few only, and
come again a period later, higher by its trend."""
ROUNDS = 6
"""Times that partners are chosen and lines are fitted to them at most: two or three settle it."""
SLOPE = 2.0
"""Factor up to which a column's scale differs after another fit on a part of the same data, and"""
OFFSET = 2.0
"""how far its middle moves (ratio to its deviation): columns with long tails between their least and
their largest number did by 1.3 and 1.0, on data that scikit-learn ships."""
EQUAL = 1e-4
"""Distance in each column (ratio to its deviation) up to which two numbers are one: rounding twice."""

NONE = Row(rescaled=0, rescaled_of=0, rescaled_size=0, rescaled_trained=0, rescaled_known=0)
"""Nothing of the kind."""


class Measured(Placed, Protocol):
    """A batch of which some numbers were kept."""

    @property
    def phase(self) -> int:
        """Of evaluations in a row."""

    @property
    def rows(self) -> int:
        """Samples of the whole batch."""

    @property
    def measured(self) -> Tensor | None:
        """Numbers of its samples, shape ``[samples, columns]``."""


@dataclass(frozen=True)
class _Heap:
    """Samples of several batches.

    Attributes:
        rows: their numbers.
        steps: before which each was called on.
    """

    rows: Tensor
    steps: Tensor


def rescaled(
    trained: Sequence[Measured], evaluated: Sequence[Measured], calls: Mapping[int, int]
) -> Row:
    """How many evaluated samples are trained ones in another scale, in the cleanest evaluation.

    Args:
        trained: batches that were trained on.
        evaluated: batches of validations.
        calls: how many of them there were in a row, by the number that these share.
    """
    streams: dict[tuple[int, int], list[Measured]] = defaultdict(list)
    for seen in evaluated:
        streams[seen.stream, seen.step].append(seen)
    cleanest = NONE
    for some in streams.values():
        asked, known = _heap(some), _heap([seen for seen in trained if seen.era == some[0].era])
        if asked is None or known is None:
            continue
        found = _between(known, asked)
        if not found.integer("rescaled"):
            return NONE
        if cleanest is NONE or _share(found) < _share(cleanest):
            size = calls.get(some[0].phase, 1) * max(seen.rows for seen in some)
            cleanest = Row(found, rescaled_size=size)
    return cleanest


def _share(found: Row) -> float:
    return found.integer("rescaled") / found.integer("rescaled_of")


def _heap(found: Sequence[Measured]) -> _Heap | None:
    """The different samples of some batches; None of few, or where they do not fit together."""
    kept = [(rows, seen.step) for seen in found if (rows := seen.measured) is not None]
    if len({rows.shape[1] for rows, _ in kept}) != 1:
        return None
    rows = torch.cat([rows.cpu().double() for rows, _ in kept])
    steps = torch.cat([torch.full((len(rows),), step) for rows, step in kept])
    unique, places = torch.unique(rows, dim=0, return_inverse=True)
    first = torch.full((len(unique),), int(steps.max())).scatter_reduce(0, places, steps, "amin")
    is_told = len(unique) >= FEW and bool(unique.isfinite().all())
    return _Heap(unique, first) if is_told else None


def _between(known: _Heap, asked: _Heap) -> Row:
    earlier = known.rows[known.steps < int(asked.steps.min())]
    partners = _partners(earlier, asked.rows) if earlier.shape[1] == asked.rows.shape[1] else None
    return Row(
        rescaled=0 if partners is None else len(partners),
        rescaled_of=len(asked.rows),
        rescaled_size=0,
        rescaled_trained=0 if partners is None else len(torch.unique(partners)),
        rescaled_known=len(earlier),
    )


def _partners(known: Tensor, asked: Tensor) -> Tensor | None:
    """Which trained sample each evaluated one is that is one, by their places; None where few are."""
    if len(known) < FEW or len(asked) < FEW:
        return None
    deviation = known.std(0)
    varies = (deviation > 0) & (asked.std(0) > 0)
    known, asked = ((part - known.mean(0))[:, varies] / deviation[varies] for part in (known, asked))
    if not _fill_their_columns(known, asked):
        return None
    moved, before = asked, torch.tensor([])
    for _ in range(ROUNDS):
        ours, theirs, nearer = _mutual(known, moved)
        if len(nearer) < FEW or torch.equal(theirs[nearer], before):
            return None
        before = theirs[nearer]
        slope, offset = _lines(asked[before], known[ours[nearer]])
        if not bool(((slope < SLOPE) & (slope > 1 / SLOPE) & (offset.abs() < OFFSET)).all()):
            return None
        moved = asked * slope + offset
        equal = ((known[ours] - moved[theirs]).abs() <= EQUAL).all(1)
        if int(equal.sum()) >= FEW:
            return ours[equal]
    return None


def _fill_their_columns(*sides: Tensor) -> bool:
    """Whether enough columns tell samples apart on both sides, and these are not each other's."""
    telling = torch.tensor([[_chance(c) <= BY_CHANCE for c in side.unbind(1)] for side in sides]).all(0)
    if int(telling.sum()) < COLUMNS:
        return False
    values = torch.linalg.svdvals(sides[0][:, telling])
    return float((values > SMALL * values[0]).double().mean()) >= FULL


def _chance(column: Tensor) -> float:
    """That two of its numbers are equal."""
    shares = torch.unique(column, return_counts=True)[1].double() / len(column)
    return float(shares.square().sum())


def _mutual(known: Tensor, asked: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The places of those that are each other's nearest, and which pairs are the nearer half."""
    distances = torch.cdist(known, asked)
    nearest = distances.argmin(0)
    theirs = torch.arange(len(asked))
    theirs = theirs[distances.argmin(1)[nearest] == theirs]
    ours = nearest[theirs]
    return ours, theirs, distances[ours, theirs].argsort()[: max(FEW, len(theirs) // 2)]


def _lines(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The slope and the offset of each column that lead from one side to the other."""
    middle, other = x.mean(0), y.mean(0)
    spread = (x - middle).square().sum(0)
    slope = ((x - middle) * (y - other)).sum(0) / spread.clamp(min=torch.finfo(x.dtype).tiny)
    return slope, other - slope * middle
