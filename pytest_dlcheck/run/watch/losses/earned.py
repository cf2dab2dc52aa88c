"""What a loop itself calls earned: its variables named as rewards or returns. No judgement."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pytest_dlcheck.run.code.frames import callers, variables
from pytest_dlcheck.run.code.lines import frame_of_the_loop
from pytest_dlcheck.run.tensors.tree import is_plain
from pytest_dlcheck.run.watch.losses.named import (
    ALONE,
    BETTER,
    LETTERS,
    is_earned,
    is_expected,
    is_of_worth,
    is_paid,
)
from pytest_dlcheck.run.watch.losses.picked import LARGEST, indices, picked

FRAMES = 3
"""Callers in which they are looked for: a step is often a function, and a method of a class."""
LINE = 1 - 1e-7
"""Correlation of the same numbers in two units, of single precision, or less a mean."""
MARGIN = 0.2
"""By how much less that must be in the other order, where one falls as the other rises; chosen."""
FEWEST = 8
"""Weights (count) beside those that a mask has set to zero."""


class Surprise(NamedTuple):
    """What a critic is to say, and what it says, as float64 on the host."""

    target: Tensor
    said: Tensor


EARNED, PAID, PERHAPS = "earned", "paid", "perhaps"
"""What a name says of numbers: the first two leave no doubt."""


class Known(NamedTuple):
    """The variable that weights follow, which way, and what its name says; empty where there is none.

    Attributes:
        is_turned: whether they fall with it although no critic is subtracted the wrong way round: as an
            opponent's pay, or as samples that count the more the less they brought.
    """

    name: str = ""
    way: float = 0.0
    kind: str = ""
    is_turned: bool = False


def earned(weights: Tensor, surprises: Sequence[Surprise] = ()) -> Known:
    """The variable whose numbers these are, and whether they rise (1) or fall (-1) with it.

    They may be less than it by a mean, by what a critic says, or by what the loop calls expected, and
    zero where a mask is. A return of one letter is sure only beside an advantage that rises with it, and
    what the loop calls both earned and paid is not earned.

    Args:
        weights: one for each action, of shape ``[n]`` and type float64, on the host.
        surprises: of the critics in the same loss.
    """
    found = {name: numbers for name, numbers in _named_numbers(len(weights)) if _varies(numbers)}
    ways = {name: _way(weights, numbers) for name, numbers in found.items()}
    of = {kind: _of(kind, weights, found, ways, surprises) for kind in (is_paid, is_earned)}
    if of[is_paid]:
        return Known(*of[is_paid][0], PAID)
    if of[is_earned]:
        is_one = len({way for _, way in of[is_earned]}) == 1
        name, way = of[is_earned][0]
        return Known(name, way, EARNED if is_one else PERHAPS, is_turned=ways[name] < 0)
    rises = any(ways.get(name, 0) > 0 for name in BETTER)
    for name in (*LETTERS, *BETTER, *ALONE):
        if way := ways.get(name, 0.0):
            return Known(name, way, EARNED if name in LETTERS and rises and way > 0 else PERHAPS)
    return Known()


def _of(
    is_kind: Callable[[str], bool],
    weights: Tensor,
    found: Mapping[str, Tensor],
    ways: Mapping[str, float],
    surprises: Sequence[Surprise],
) -> list[tuple[str, float]]:
    """The variables of a kind that weights follow: as they are, or else less what was expected."""
    names = [name for name in found if is_kind(name)]
    as_they_are = [(name, ways[name]) for name in names if ways[name]]
    return as_they_are or [
        (name, way) for name in names if (way := _less(weights, found, name, surprises))
    ]


def _less(
    weights: Tensor, found: Mapping[str, Tensor], name: str, surprises: Iterable[Surprise]
) -> float:
    """Which way weights follow what was earned less something else; 0 where they do not."""
    known = found[name]
    pairs = [s.said for s in surprises if len(s.target) == len(known) and _follows(s.target, known) > 0]
    expected = [each for other, each in found.items() if is_expected(other)]
    aways = (known - each for each in [*pairs, *expected] if len(each) == len(known))
    return next((way for away in aways if _varies(away) and (way := _way(weights, away))), 0.0)


def _varies(numbers: Tensor) -> bool:
    return float(numbers.std()) > 0


def _way(weights: Tensor, numbers: Tensor) -> float:
    """Whether weights lie on a line over these numbers, and which way; 0 where they do not.

    Those that a mask has set to zero lie on none.
    """
    if way := _follows(weights, numbers):
        return way
    heard = weights != 0
    if bool(heard.all()) or int(heard.sum()) < FEWEST:
        return 0.0
    weights, numbers = weights[heard], numbers[heard]
    return _follows(weights, numbers) if _varies(weights) and _varies(numbers) else 0.0


def _follows(weights: Tensor, numbers: Tensor) -> float:
    """Whether two rows of numbers lie on a line, and which way.

    Returns fall from step to step, so that in the order of the episode and in the other they follow each
    other and oppose each other: that they fall with each other is certain of others only.
    """
    both = torch.stack([weights, numbers, numbers.flip(0)])
    one, other = torch.corrcoef(both)[0, 1:].tolist()
    if one >= LINE:
        return 1.0
    return -1.0 if one <= -LINE and abs(other) <= 1 - MARGIN else 0.0


def _named_numbers(count: int) -> Iterator[tuple[str, Tensor]]:
    """Of the loop and its callers, the innermost last of those of one name; or what it picks of them.

    Args:
        count: how many numbers of each.
    """
    for own in _variables():
        of_worth = {name: value for name, value in own.items() if is_of_worth(name)}
        by = indices(own.values(), count) if of_worth else []
        for name, value in of_worth.items():
            numbers = _numbers(value, count)
            numbers = picked(value, by) if numbers is None else numbers
            if numbers is not None:
                yield name, numbers


def _variables() -> Iterator[dict[str, Any]]:
    """Those of the loop and its callers, the innermost last."""
    return (variables(each) for each in reversed(list(callers(frame_of_the_loop(), FRAMES))))


def _numbers(value: Any, count: int) -> Tensor | None:
    """As many numbers as there are weights."""
    if type(value) in {Tensor, torch.nn.Parameter}:
        fits = is_plain(value) and value.numel() == count <= LARGEST and not value.is_complex()
        return value.detach().flatten().double().cpu() if fits else None
    if type(value) is np.ndarray:
        fits = value.size == count and value.dtype.kind in "fiu"
        return torch.from_numpy(value.astype(np.float64).reshape(-1)) if fits else None
    fits = type(value) in {list, tuple, deque} and 0 < len(value) <= count <= LARGEST
    return _numbers_of_each(value, count) if fits else None


def _numbers_of_each(value: Sequence[Any], count: int) -> Tensor | None:
    """The same of a list of numbers, or of tensors."""
    if len(value) == count and all(isinstance(each, Real) for each in value):
        return torch.tensor([float(each) for each in value], dtype=torch.float64)
    if not all(type(each) is Tensor and is_plain(each) and not each.is_complex() for each in value):
        return None
    if sum(each.numel() for each in value) != count:
        return None
    return torch.cat([each.detach().flatten().double().cpu() for each in value])
