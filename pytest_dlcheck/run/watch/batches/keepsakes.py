"""What holds the rows of a batch, or their numbers, beside the batch itself. No judgement."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from torch import Tensor, nn

from pytest_dlcheck.run.tensors.rows_within import (
    Numbers,
    as_plain,
    is_array,
    on_the_host,
    places,
    turned,
)

FEWEST = 8
"""Numbers (count) of a sequence that may be those of the rows."""
LARGEST = 1 << 22
"""Numbers of a sequence that are read at most."""
SHORT = 1 << 12
"""Numbers of a sequence up to which it may stand for rows in other units, as of blocks, or counted from
elsewhere."""
_OURS = 3
"""References to an object that nobody else holds: the list's, a name's, and an argument's."""


_SEQUENCES = frozenset({list, tuple, set, frozenset})


def kinds() -> frozenset[type]:
    """The types of what may be one: not of parameters."""
    return (_SEQUENCES | _kinds_of(Tensor) | _kinds_of(np.ndarray)) - {nn.Parameter}


def _kinds_of(kind: type) -> frozenset[type]:
    below: list[type] = type.__subclasses__(kind)
    return frozenset({kind}).union(*map(_kinds_of, below))


class Keepsakes:
    """Objects that hold them at one moment.

    Args:
        rows: of the batch, of shape ``[n, size]``.
        standing: where they stand in an array, -1 where that is not certain.
        batch: which is held for the step that goes on, and by which its own memory is told.
    """

    def __init__(self, rows: Numbers, standing: Numbers, batch: Tensor) -> None:
        self._rows, self._standing = rows, standing
        self._memory = batch.untyped_storage()._cdata  # noqa: SLF001  public only by name
        self._found: list[Callable[[], Any]] = []
        self._sequences: list[Any] = []

    def gather(self, things: Iterable[Any]) -> None:
        """Which of these do; each may come several times."""
        seen = {id(self._rows), id(self._standing)}
        for thing in things:
            if id(thing) in seen:
                continue
            seen.add(id(thing))
            if type(thing) in _SEQUENCES:
                if self._is_in_sequence(thing):
                    self._sequences.append(thing)
            elif self._is_in_array(as_plain(thing)):
                self._found.append(weakref.ref(thing))

    def are_rows_of(self, batch: Tensor) -> bool:
        """Whether the rows are those of this batch, number by number."""
        rows = on_the_host(batch[: len(self._rows)]).reshape(len(self._rows), -1)
        return rows.shape == self._rows.shape and bool((rows == self._rows).all())

    def are_gone(self) -> bool:
        """Whether none of them lives any more but here."""
        gone = all(sys.getrefcount(each) <= _OURS for each in self._sequences)
        return gone and all(found() is None for found in self._found)

    def _is_in_sequence(self, thing: Any) -> bool:
        if not FEWEST <= len(thing) <= LARGEST and len(thing) != self._rows.shape[1]:
            return False
        if not isinstance(next(iter(thing), None), (int, float, np.integer, np.floating)):
            return False
        try:
            numbers = np.array(list(thing))
        except (ValueError, TypeError, OverflowError):
            return False
        return numbers.dtype.kind in "iuf" and (self._numbers(numbers) or self._is_a_row(numbers))

    def _is_in_array(self, thing: Any) -> bool:
        if not is_array(thing):
            return False
        if isinstance(thing, Tensor) and thing.untyped_storage()._cdata == self._memory:  # noqa: SLF001
            return False
        size = self._rows.shape[1]
        count = thing.numel() if isinstance(thing, Tensor) else thing.size
        if count == size and self._is_a_row(on_the_host(thing).reshape(-1)):
            return True
        if (
            FEWEST <= count <= LARGEST
            and _counts(thing)
            and self._numbers(on_the_host(thing).reshape(-1))
        ):
            return True
        return self._holds(thing) or self._holds(turned(thing))

    def _holds(self, numbers: Any) -> bool:
        """Whether the rows stand in it in their order."""
        if numbers is None or numbers.ndim == 0:
            return False
        found = places(self._rows, numbers)
        if found is None:
            return False
        alone = found[0][found[0] >= 0]
        return len(alone) < FEWEST or not ((np.diff(alone) < 0).any() and (np.diff(alone) > 0).any())

    def _is_a_row(self, numbers: Numbers) -> bool:
        return len(numbers) == self._rows.shape[1] > 1 and bool(
            (numbers.astype(self._rows.dtype) == self._rows[0]).all()
        )

    def _numbers(self, numbers: Numbers) -> bool:
        """Whether the numbers of the rows are among them, one after the other."""
        known = np.flatnonzero(self._standing >= 0)
        wanted = self._standing[known]
        begins = len(numbers) - len(self._standing) + 1
        if begins <= 0:
            return False
        at = np.flatnonzero(numbers[known[0] : known[0] + begins] == wanted[0])
        for place, value in zip(known[1:], wanted[1:], strict=True):
            at = at[numbers[at + place] == value]
        return bool(len(at)) or (len(numbers) <= SHORT and self._in_other_units(numbers, known))

    def _in_other_units(self, numbers: Numbers, known: Numbers) -> bool:
        """As above, of numbers that are a multiple of theirs, counted from anywhere."""
        if numbers.dtype.kind not in "iu":
            return False
        far = self._standing[known] - self._standing[known[0]]
        one = int(np.flatnonzero(far)[0])
        windows = np.lib.stride_tricks.sliding_window_view(numbers, len(self._standing))[:, known]
        steps = windows.astype(np.int64) - windows[:, :1].astype(np.int64)
        alike = (steps * far[one] == far * steps[:, one : one + 1]).all(1)
        return bool((alike & (steps[:, one] != 0)).any())


def _counts(thing: Any) -> bool:
    if isinstance(thing, Tensor):
        return not (thing.is_floating_point() or thing.is_complex())
    return bool(thing.dtype.kind in "iu")
