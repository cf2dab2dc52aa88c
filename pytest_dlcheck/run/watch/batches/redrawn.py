"""Whether a loop draws its batch anew in every step, and it is the same each time. No judgement.

Whoever means one batch cuts it once, or keeps the numbers of its rows. So this is told only of batches
that stand in an array of many more rows, out of order, while nothing that the loop's variables lead to
from one step to the next holds either the rows or their numbers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from pytest_dlcheck.run.code.lines import frame_of_the_loop
from pytest_dlcheck.run.code.reachable import near
from pytest_dlcheck.run.tensors.rows_within import Numbers, is_array, on_the_host, places, turned
from pytest_dlcheck.run.tensors.tree import first_tensor
from pytest_dlcheck.run.watch.batches.drawing_code import draws_by_a_new_generator
from pytest_dlcheck.run.watch.batches.few import Few
from pytest_dlcheck.run.watch.batches.keepsakes import Keepsakes, kinds
from pytest_dlcheck.trace import Row

ALIKE = 8
"""Batches (count) that are the same before their rows are looked for."""
NUMBERS = 128
"""Numbers of a batch that are compared with those of the first."""
ROWS = 16
"""Rows of a batch that are looked for, and"""
FEWEST = 8
"""how many of them must stand in one place each, out of order: by chance one draw in 40,000 is."""
FRAMES = 4
"""Functions around the call in which an array is looked for, with all that their variables lead to."""
PARTS = 5
"""Batches that the array would make, at least."""
ASKED = 16
"""Evaluations (count) whose samples are held against the batch: the first ones."""


class Redrawn:
    """What one strand's model is called on in order to train, on sampled steps."""

    def __init__(self) -> None:
        self.is_open = True
        """Whether it may still be one batch that is always made anew."""
        self._first: Few | None = None
        self._last: StorageWeakRef | None = None
        self._step, self._alike = -1, 0
        self._kept: Keepsakes | None = None
        self._rows = self._of = 0
        self._is_sure = self._makes_its_generator = False
        self._trained: Numbers | None = None
        """All rows of the batch, from where they are looked for on."""
        self._asked = self._others = 0

    @property
    def is_curious(self) -> bool:
        """Whether it matters what else the model is asked about."""
        return self._is_sure and self._makes_its_generator and self._asked < ASKED

    def is_asked(self, arguments: Any) -> None:
        """The model is called without gradients.

        Args:
            arguments: on what.
        """
        given = first_tensor(arguments)
        self._asked += 1
        if given is None or not is_array(given) or not given.dim() or self._trained is None:
            return
        rows = on_the_host(given).reshape(len(given), -1)
        if rows.shape[1] == self._trained.shape[1]:
            known = {row.tobytes() for row in self._trained}
            others = {row.tobytes() for row in rows.astype(self._trained.dtype)} - known
            self._others = max(self._others, len(others))

    def sees(self, step: int, arguments: Any) -> None:
        """The model is called in order to train.

        Args:
            step: of its optimizer.
            arguments: what it is called on.
        """
        given = first_tensor(arguments)
        if (
            given is None
            or not is_array(given)
            or given.requires_grad
            or not self._is_the_same_anew(given)
        ):
            self._close()
            return
        self._alike += step != self._step
        self._step = step
        with np.errstate(all="ignore"):  # a user's arrays may hold anything
            if self._alike == ALIKE:
                self._look_for_the_rows(given)
            elif self._alike > ALIKE and self._kept is not None:
                self._look_again(given, self._kept)

    def row(self) -> Row:
        """What was seen, in numbers."""
        alike = self._alike if self._is_sure else 0
        made_anew = self._is_sure and self._makes_its_generator
        return Row(alike=alike, rows=self._rows, of=self._of, anew=made_anew, others=self._others)

    def _is_the_same_anew(self, given: Tensor) -> bool:
        memory = StorageWeakRef(given.untyped_storage())  # type: ignore[no-untyped-call]
        first, last, self._last = self._first, self._last, memory
        if first is None or last is None:
            is_batch = given.dim() > 0 and len(given) >= FEWEST and given.numel() > 0
            self._first = _sample(given) if is_batch else None
            return self._first is not None
        if memory.cdata == last.cdata or given.shape != first.shape:
            return False
        return _sample(given).is_as(first)

    def _look_for_the_rows(self, given: Tensor) -> None:
        wanted = on_the_host(given[:ROWS]).reshape(min(ROWS, len(given)), -1)
        frame, found = frame_of_the_loop(), None
        for thing in near(frame, FRAMES):
            ways = (thing, turned(thing)) if is_array(thing) else ()
            found = next(filter(None, (_among_others(wanted, way, len(given)) for way in ways)), None)
            if found is not None:
                break
        if found is None:
            self._close()
            return
        standing, self._of = found
        self._rows = len(given)
        self._kept = Keepsakes(wanted, standing, given)
        wanted_types = kinds()
        self._kept.gather(each for each in near(frame, FRAMES) if type(each) in wanted_types)

    def _look_again(self, given: Tensor, kept: Keepsakes) -> None:
        """A step later: nothing near by may have kept them."""
        is_sure = kept.are_rows_of(given) and kept.are_gone()
        self._close()
        self._is_sure = is_sure
        if is_sure:
            self._makes_its_generator = draws_by_a_new_generator(frame_of_the_loop())
            self._trained = on_the_host(given.clone()).reshape(len(given), -1)

    def _close(self) -> None:
        self.is_open, self._kept, self._first, self._last = False, None, None, None


def _sample(given: Tensor) -> Few:
    """Numbers from all of a batch, and from all places of its rows."""
    flat = given.detach().reshape(-1)
    stride, row = max(1, len(flat) // NUMBERS), max(1, len(flat) // len(given))
    while math.gcd(stride, row) > 1:
        stride += 1
    return Few(given.shape, flat[::stride].clone())


def _among_others(wanted: Numbers, numbers: Any, count: int) -> tuple[Numbers, int] | None:
    """Where rows stand among many others, out of order, and how many batches these would make.

    Of windows: how many their beginnings would, as they may overlap.

    Args:
        wanted: the rows.
        numbers: the array.
        count: rows of the whole batch.
    """
    if numbers is None or not numbers.ndim or len(numbers) < PARTS * count:
        return None
    found = places(wanted, numbers)
    if found is None:
        return None
    standing, lines = found
    alone = standing[standing >= 0]
    if len(np.unique(alone)) < FEWEST or not is_out_of_order(alone):
        return None
    are_windows = lines.span > 1 and bool((alone % lines.span).any())
    batches = (lines.count if are_windows else lines.rows // max(1, lines.span)) // count
    return (standing, batches) if batches >= PARTS else None


def is_out_of_order(numbers: Numbers) -> bool:
    """Whether they neither rise nor fall from one to the next."""
    steps = np.diff(numbers)
    return bool((steps > 0).any() and (steps < 0).any())
