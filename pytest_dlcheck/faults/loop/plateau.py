"""A scheduler that waits for a plateau in the wrong direction, in words. Thresholds: written beside."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from statistics import fmean

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.verdict import Measure, Suspect

_FEWEST = 4
"""Numbers that a scheduler is told (count), and distinct ones, below which no trend shows."""
_LEARNED = 0.8
"""Training loss of the last numbers over that of the first (ratio) at which something is learned."""
_RISE = 0.2
"""Rise of a share (ratio) that is no error rate's, from the first epoch on, while the loss falls."""
_SLIGHT = 0.05
"""The same from which on it is advice."""
_MOST = 0.5
"""Share (ratio) above which a model that learns does not err."""
_NOISE = 0.02
"""By how much (ratio) a share may fall below its first value."""
_SAME = 1e-4
"""How far a mean of losses is off (ratio) where it is summed in another order."""
_NEAR = 1.5
"""Validation over training loss, or the inverse (ratio), of a model that learns; chosen."""
_HALF = 0.5
_TOGETHER = 0.8
"""Pairs of epochs (ratio) in which a number and the training loss move alike; chosen."""


def wrong_way(trace: Trace) -> Fault | None:
    """The rate is cut while the number improves: an accuracy under min, a loss under max."""
    rows, losses = trace.rows("plateaus"), _losses(trace)
    cuts = sum(row.flag("cut") for row in rows)
    if not cuts or not losses or trace.row("recipe").flag("maximize"):
        return None
    numbers, mode = [row.number("number") for row in rows], rows[0].text("mode")
    if mode == "min" and _rise(rows) >= _RISE and _late(numbers) > _MOST * _whole(rows):
        return _fault(rows, cuts, "an accuracy", "rises from", "max")
    if mode == "max" and _is_loss(numbers, losses) and not _whole(rows):
        return _fault(rows, cuts, "a loss", "falls from", "min")
    return None


def wrong_way_advice(trace: Trace) -> Iterator[str]:
    """The same where the number may be an error rate after all."""
    rows = trace.rows("plateaus")
    learns = any(row.flag("cut") for row in rows) and _losses(trace)
    if learns and rows[0].text("mode") == "min" and _rise(rows) >= _SLIGHT:
        yield "ReduceLROnPlateau in mode='min' cut the rate while its number rose: is it an accuracy?"


def _fault(rows: Sequence[Row], cuts: int, what: str, goes: str, mode: str) -> Fault:
    first, last = rows[0].number("number"), rows[-1].number("number")
    set_to = rows[0].text("mode")
    remedy = f"ReduceLROnPlateau(optimizer, mode={mode!r}) for {what}"
    return Fault(
        f"the learning rate was cut {cuts} times (0 expected) while {what}, which the scheduler is "
        f"told, {goes} {first:.3g} to {last:.3g}, and the training loss falls",
        (Measure("cuts while the number improves", cuts, "count", 0),),
        [Suspect("ReduceLROnPlateau", f"mode={set_to!r}, and is told {what}", remedy)],
        cause=f"ReduceLROnPlateau watches {what} in mode={set_to!r}: progress cuts the rate",
        remedy=remedy,
    )


def _losses(trace: Trace) -> list[list[float]]:
    """The training losses before each number; empty where they are not known, or do not fall."""
    rows, series = trace.rows("plateaus"), trace.series("loss")
    ends = [0, *(row.integer("step") for row in rows)]
    found = [
        [v for s, v in zip(series.steps, series.values, strict=True) if begin <= s < end]
        for begin, end in pairwise(ends)
    ]
    if len(rows) < _FEWEST or not all(found):
        return []
    means = [fmean(part) for part in found]
    falls = all(map(math.isfinite, means)) and 0 < _late(means) <= _LEARNED * means[0]
    return found if falls else []


def _late(numbers: Sequence[float]) -> float:
    return fmean(numbers[-max(1, len(numbers) // 3) :])


def _whole(rows: Sequence[Row]) -> float:
    """1 where all numbers are shares of the samples evaluated before, 100 in percent; 0 elsewhere."""
    numbers = [row.number("number") for row in rows]
    for key, whole in (("of", 1.0), ("of_percent", 100.0)):
        inner = {number for number in numbers if 0 < number < whole}
        if all(row.integer(key) for row in rows) and len(inner) >= _FEWEST:
            return whole
    return 0.0


def _rise(rows: Sequence[Row]) -> float:
    """By how much a share has risen since the first number, which is the least; 0 where it is none."""
    whole, numbers = _whole(rows), [row.number("number") for row in rows]
    if not whole or min(numbers) < numbers[0] - _NOISE * whole:
        return 0.0
    return (_late(numbers) - numbers[0]) / whole


def _is_loss(numbers: Sequence[float], losses: Sequence[Sequence[float]]) -> bool:
    """Whether a number that falls is the training loss, or keeps beside its latest all the way down.

    Scores between 0 and 1 fall, too, where a model learns by heart, but not by half.
    """
    whole = zip(numbers, map(fmean, losses), strict=True)
    pairs = [(n, fmean(part[-(len(part) // 4 + 1) :])) for n, part in zip(numbers, losses, strict=True)]
    if min(numbers) <= 0 or _late(numbers) > _LEARNED * numbers[0]:
        return False
    if all(abs(number - loss) <= _SAME * loss for number, loss in whole):
        return True
    near = all(1 / _NEAR <= number / loss <= _NEAR for number, loss in pairs)
    beyond = numbers[0] > 1 or _late(numbers) <= _HALF * numbers[0]
    alike = [(a[0] - b[0]) * (a[1] - b[1]) > 0 for a, b in combinations(pairs, 2)]
    return near and beyond and fmean(alike) >= _TOGETHER
