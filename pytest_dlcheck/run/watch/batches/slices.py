"""Whether a loop cuts its batches from a tensor by hand, always the same rows. No judgement."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor

from pytest_dlcheck.run.tensors.tree import first_tensor
from pytest_dlcheck.trace import Row

ASKED = 64
"""Questions about other rows of the same data (count) that are remembered: the last ones."""


@dataclass(frozen=True)
class _Slice:
    """Whole rows of a tensor: where they begin and end, in numbers, and how many make a row."""

    memory: int
    begin: int
    end: int
    row: int
    rows: int

    @classmethod
    def of(cls, given: Tensor | None) -> _Slice | None:
        """None where it is no slice along the first axis, or of all."""
        if (
            given is None
            or type(given) is not Tensor
            or given.layout != torch.strided
            or given.is_nested
        ):
            return None
        whole = given._base  # noqa: SLF001  public only by name
        if whole is None or not given.numel() or not given.dim() or not whole.is_contiguous():
            return None
        cut = given.shape[1:] == whole.shape[1:] and len(given) < len(whole)
        picked = given.shape == whole.shape[1:] and len(whole) > 1
        if not (cut or picked) or not given.is_contiguous():
            return None
        begin = int(given.storage_offset()) - int(whole.storage_offset())
        row = whole.numel() // len(whole)
        return cls(whole.data_ptr(), begin, begin + given.numel(), row, len(whole))


class Slices:
    """What one strand's model is called on in order to train, as long as that is always one slice."""

    def __init__(self) -> None:
        self._first: _Slice | None = None
        self._last: weakref.ref[Tensor] | None = None
        self._asked: list[tuple[int, int]] = []
        self._looked = 0
        self.is_open = True
        """Whether it is, until now."""

    def sees(self, arguments: Any, *, trains: bool, from_loader: bool) -> None:
        """A module is called from outside.

        Args:
            arguments: on what.
            trains: whether with gradients.
            from_loader: whether on a batch fresh from a loader.
        """
        given = first_tensor(arguments)
        if given is not None and given.grad_fn is not None:  # what another module has given
            return
        found = None if from_loader else _Slice.of(given)
        if trains:
            self._trains(given, found)
        elif self._is_of_the_same(found):
            self._asked = [*self._asked, (found.begin, found.end)][-ASKED:]

    def _is_of_the_same(self, found: _Slice | None) -> TypeGuard[_Slice]:
        """Whether other rows of the same data are asked about."""
        if self._first is None or found is None:
            return False
        return found != self._first and found.memory == self._first.memory

    def _trains(self, given: Tensor | None, found: _Slice | None) -> None:
        is_anew = self._last is None or self._last() is not given
        if given is None or found is None or not is_anew or found != (self._first or found):
            self.is_open, self._last = False, None
            return
        self._first, self._last = found, weakref.ref(given)
        self._looked += 1

    def row(self) -> Row:
        """What was seen, in numbers."""
        first = self._first
        if first is None or not self.is_open:
            return Row(looked=0, rows=0, of=0, asked=0)
        return Row(
            looked=self._looked,
            rows=(first.end - first.begin) // first.row,
            of=first.rows,
            asked=_covered(self._asked) // first.row,
        )


def _covered(parts: list[tuple[int, int]]) -> int:
    """How many numbers lie in some of these parts."""
    total = until = 0
    for begin, end in sorted(parts):
        total += max(0, end - max(begin, until))
        until = max(until, end)
    return total
