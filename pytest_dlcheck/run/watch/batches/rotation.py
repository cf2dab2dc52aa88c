"""Do training and validation samples change places while one model goes on? Numbers, no judgement."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pytest_dlcheck.trace import Row

HITS = 16
"""Samples (count) that a validation shares with an earlier training from which on that is no chance."""
CLEAN = 8
"""How many times more samples (ratio) an earlier training shares with a validation than the latest one,
seen about as well, where that one leaves them out."""
ALIKE = 0.3
"""Share of samples that two trainings have in common, over the share of the validation that the earlier
one was trained on (ratio): 2/3 with four folds, 1/2 with three, 0 where tasks follow each other."""


class Placed(Protocol):
    """When a batch was seen, and in what."""

    @property
    def step(self) -> int:
        """Steps taken before."""

    @property
    def stream(self) -> int:
        """The pass that the batch is of."""

    @property
    def era(self) -> int:
        """A number that changes where parameters are set by something else than steps."""


class Seen(Placed, Protocol):
    """Samples of a batch, by numbers that equal samples share."""

    def values(self) -> list[float]:
        """A number per sample."""


@dataclass(frozen=True)
class _Leak:
    """A validation on samples that were trained on before, and not in the training just before it."""

    step: int
    samples: frozenset[float]
    hits: int


def rotation(trained: Iterable[Seen], evaluated: Sequence[Seen]) -> Row:
    """How many validations lie in what was trained on earlier, while what was validated is trained on.

    Args:
        trained: batches that were trained on.
        evaluated: batches of validations.
    """
    if not evaluated:
        return Row(rotations=0, rotated_samples=0, rotated_first=None, returned=0)
    ends = sorted({seen.step for seen in evaluated})
    trainings: dict[tuple[int, int], set[float]] = defaultdict(set)
    for seen in trained:
        trainings[seen.era, bisect_right(ends, seen.step)].update(seen.values())
    validations: dict[tuple[int, int, int], set[float]] = defaultdict(set)
    for seen in evaluated:
        validations[seen.era, ends.index(seen.step), seen.stream].update(seen.values())
    leaks = [
        leak
        for (era, index, _), samples in validations.items()
        if (leak := _leak(trainings, samples, era, index, ends[index]))
    ]
    returned = sum(
        _returns(trainings, samples, era, index) for (era, index, _), samples in validations.items()
    )
    apart = _apart(leaks)
    return Row(
        rotations=len(apart),
        rotated_samples=sum(leak.hits for leak in apart),
        rotated_first=min((leak.step for leak in apart), default=None),
        returned=returned,
    )


def _leak(
    trainings: dict[tuple[int, int], set[float]], samples: set[float], era: int, index: int, step: int
) -> _Leak | None:
    latest = trainings.get((era, index), set())
    earlier = {k: found for (e, k), found in trainings.items() if e == era and k < index}
    if not earlier or not latest:
        return None
    before = max(earlier.values(), key=lambda found: len(samples & found))
    hits = len(samples & before)
    if hits < HITS or 2 * len(latest) < len(before) or CLEAN * len(samples & latest) > hits:
        return None
    common = len(latest & before) / min(len(latest), len(before))
    return _Leak(step, frozenset(samples), hits) if common >= ALIKE * hits / len(samples) else None


def _returns(
    trainings: dict[tuple[int, int], set[float]], samples: set[float], era: int, index: int
) -> bool:
    """Whether what was validated here, and not trained on before, is trained on later."""
    until = set().union(*(found for (e, k), found in trainings.items() if e == era and k <= index))
    later = set().union(*(found for (e, k), found in trainings.items() if e == era and k > index))
    hits = len(samples & later)
    return hits >= HITS and CLEAN * len(samples & until) <= hits


def _apart(leaks: Sequence[_Leak]) -> list[_Leak]:
    """Those of different samples."""
    found: list[_Leak] = []
    for leak in leaks:
        if all(2 * len(leak.samples & f.samples) <= len(leak.samples) for f in found):
            found.append(leak)
    return found
