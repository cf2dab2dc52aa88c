"""Whether reading a sample changes what the data set has stored of it, again and again. No judgement.

A look is a few numbers of the rows of the samples that are read, before and after: at the first reads of
the first passes, and on where these have changed something. What is told is of rows that changed while
they were read, in two passes, and were left alone in between.
"""

from __future__ import annotations

import operator
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.tensors.tree import tensors
from pytest_dlcheck.run.watch.batches.edited_rows import READS, Array
from pytest_dlcheck.run.watch.batches.holdings import SHORT, Holding, held
from pytest_dlcheck.trace import Row

LAST = 64
"""Passes over whatever after which nobody looks any more."""
NEAR = 1e-4
"""Relative distance up to which a sample is what is stored: it may have been made float32."""
FOLLOWS = 0.9
"""Correlation of the means of samples with those of what is stored (ratio) from which on they are that,
scaled, or with other axes."""


@dataclass(frozen=True)
class _Look:
    array: Array
    holding: Holding
    places: list[int]
    before: Tensor


class Edits:
    """Hears of reads, before and after."""

    def __init__(self) -> None:
        self._arrays: dict[int, Array] = {}
        self._fetcher: weakref.ref[Any] | None = None
        self._numbers, self._number, self._reads = count(1), 0, 0
        self._is_idle = False
        self._looks: list[_Look] = []

    def begin(self, fetcher: Any, index: Any) -> None:
        """Samples are about to be read.

        Args:
            fetcher: a data loader's, for this pass.
            index: of one sample, or those of a batch.
        """
        self._looks = []
        if self._fetcher is None or self._fetcher() is not fetcher:
            self._fetcher, self._reads = weakref.ref(fetcher), 0
            self._number = next(self._numbers)
            self._is_idle = self._number > LAST
        if self._is_idle:
            return
        indices = _indices(index)
        holdings = held(fetcher.dataset, indices) if indices else []
        arrays = [(self._array(each), each) for each in holdings]
        arrays = [(array, each) for array, each in arrays if not array.is_known(self._number)]
        changes = any(array.changes for array, _ in arrays)
        self._is_idle = not arrays or (self._reads >= READS and not changes)
        for array, holding in arrays:
            array.passes.add(self._number)
            places = array.wanted(holding, self._reads, self._number)
            before = holding.look(places) if places else None
            if before is not None:
                self._looks.append(_Look(array, holding, places, before))
        self._reads += 1

    def end(self, fetcher: Any, index: Any, batch: Any) -> None:
        """They were read."""
        looks, self._looks = self._looks, []
        if not looks or self._fetcher is None or self._fetcher() is not fetcher:
            return
        single = type(index) not in {list, tuple}
        for look in looks:
            after = look.holding.look(look.places)
            if after is None:
                continue
            for place, one, other in zip(look.places, look.before, after, strict=True):
                look.array.add(look.holding.rows[place], self._number, one, other)
            if look.array.changes and not look.array.is_given:
                look.array.is_given = _is_made_of(batch, look.holding, look.places, after, single=single)

    def rows(self) -> tuple[Row, ...]:
        """Of the arrays whose rows changed in two passes."""
        return tuple(row for array in self._arrays.values() if (row := array.row()) is not None)

    def _array(self, holding: Holding) -> Array:
        known = self._arrays.get(id(holding.values))
        if known is None or known.owner() is not holding.owner():
            known = self._arrays[id(holding.values)] = Array(holding.owner, holding.name)
        return known


def _indices(index: Any) -> list[int]:
    """Whole numbers, none negative; none where samples have other names."""
    found = index if type(index) in {list, tuple} else [index]
    try:
        whole = [operator.index(each) for each in found]
    except TypeError:
        return []
    return whole if min(whole, default=-1) >= 0 else []


def _is_made_of(
    batch: Any, holding: Holding, places: Sequence[int], stored: Tensor, *, single: bool
) -> bool:
    """Whether samples are what is stored, or made of it by scale and order alone."""
    means = holding.means(places)
    for tensor in tensors(batch):
        samples = tensor.detach()[None] if single else tensor.detach()
        if not samples.dim() or len(samples) != len(holding.rows) or not samples.numel():
            continue
        flat = samples[list(places)].reshape(len(places), -1).cpu().double()
        step = max(1, flat.shape[1] // max(1, stored.shape[1]))
        spread = flat[:, : step * stored.shape[1] : step]
        same = spread.shape == stored.shape and torch.allclose(spread, stored, rtol=NEAR, atol=1e-6)
        if same or _correlation(flat.mean(1), means) >= FOLLOWS:
            return True
    return False


def _correlation(one: Tensor, other: Tensor) -> float:
    one, other = one - one.mean(), other - other.mean()
    size = float(one.norm() * other.norm())
    return abs(float(one @ other)) / size if len(one) >= SHORT and size > 0 else 0.0
