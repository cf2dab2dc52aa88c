"""Backward passes whose gradients are reset before the step that they were made for. No judgement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.tensors.sampled import sample_of
from pytest_dlcheck.run.tensors.tree import tensors
from pytest_dlcheck.run.watch.batches.loading import Loading
from pytest_dlcheck.run.watch.batches.prints import rounded, row_prints
from pytest_dlcheck.run.watch.steps.gradients import Gradients
from pytest_dlcheck.trace import Row

WINDOWS = 16
"""Steps that are looked into."""
WITNESSES = 3
"""Parameters, and gradients, that are compared."""
SAME_WAY = 0.999
"""Cosine from which on a gradient is the one that a backward has left, clipped or unscaled at most."""


@dataclass(frozen=True)
class _Call:
    """What the model was called on: where it lies in memory, and when it was read."""

    prints: Tensor | None
    place: tuple[int, int, int]
    passes: int
    batches: int
    asks_gradient: bool

    @classmethod
    def of(cls, batch: Tensor, loading: Loading) -> _Call:
        begins = batch.data_ptr()
        place = (batch.untyped_storage().data_ptr(), begins, begins + batch.nbytes)
        return cls(row_prints(batch), place, loading.passes, loading.batches, batch.requires_grad)

    def values(self) -> set[float]:
        return set() if self.prints is None else set(rounded(self.prints))

    def is_followed_by(self, other: _Call) -> bool:
        """Whether the other is the next part of one batch, or the next batch of one pass."""
        part = self.place[0] == other.place[0] and self.place[2] == other.place[1]
        following = self.passes == other.passes > 0 and other.batches == self.batches + 1
        return part or following


class Drops:
    """What lies between two steps, once it has happened that gradients were reset before a step.

    Dropped on purpose are a first backward that only moves the parameters (SAM), that asks for the
    gradient of the inputs (adversarial training), or whose gradients are put together by hand.

    Args:
        parameters: the optimizer's.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        weights = [p for p in parameters if p.requires_grad and p.dim() > 1] or list(parameters)
        self._witnesses = weights[:: max(1, len(weights) // WITNESSES)][:WITNESSES]
        self.is_open = self._has_dropped = False
        """Open is a step that is looked into."""
        self._calls: list[_Call | None] = []
        self._call: _Call | None = None
        self._before: list[Tensor] = []
        self._moved: list[Tensor] = []
        self._left: list[Tensor] = []
        self.steps = 0
        """Steps that came after a reset of what backward had left for them."""
        self.looked = self.plain = self.micro_batches = 0
        """Those that were looked into, and of these: where nothing was done with what was dropped, and
        where the dropped and the applied are neighbouring parts of the data besides."""
        self.passes = self.dropped = 0
        """Backward passes of those looked into, and how many of them were dropped."""

    def step_ends(self) -> None:
        """From here on, look closer if something was dropped before this step."""
        self.is_open = self._has_dropped and self.looked < WINDOWS

    def called(self, arguments: Any, loading: Loading) -> None:
        """The model is called in order to train."""
        if self.is_open and self._call is None and (found := tensors(arguments)):
            plain = found[0].layout == torch.strided
            self._call = _Call.of(found[0], loading) if plain else None

    def backward_begins(self) -> None:
        """Have the parameters moved since the last?"""
        if not self.is_open:
            return
        now = _sampled(self._witnesses)
        if self._before:
            self._moved.append(torch.ne(now[0], self._before[0]).any())
        self._before = now
        self._calls.append(self._call)
        self._call = None

    def backward_ends(self) -> None:
        """Keep what it has left."""
        if self.is_open:
            self._left = self._gradients()

    def applied(self, gradients: Gradients) -> None:
        """The optimizer is about to step."""
        self._has_dropped = gradients.dropped > 0
        self.steps += self._has_dropped
        if not self.is_open:
            return
        if self._has_dropped:
            self._conclude(gradients.dropped)
        self.is_open = False
        self._forget()

    def close(self) -> None:
        """Let the parameters go."""
        self._witnesses, self.is_open = [], False
        self._forget()

    def row(self) -> Row:
        """What was seen, in numbers."""
        return Row(
            drop_steps=self.steps,
            drop_looked=self.looked,
            drop_plain=self.plain,
            drop_micro_batches=self.micro_batches,
            drop_passes=self.passes,
            drop_lost=self.dropped,
        )

    def _conclude(self, dropped: int) -> None:
        self.looked += 1
        self.passes += len(self._calls)
        self.dropped += dropped
        if self._serve_nothing():
            self.plain += 1
            self.micro_batches += self._are_micro_batches()

    def _serve_nothing(self) -> bool:
        calls = [call for call in self._calls if call is not None]
        if any(call.asks_gradient for call in calls) or any(bool(moved) for moved in self._moved):
            return False
        if any(_is_held_in(call.values(), calls[-1].values()) for call in calls[:-1]):
            return False
        now = self._gradients()
        if not now or not self._left or now[0].shape != self._left[0].shape:
            return False
        return bool(torch.cosine_similarity(self._left[0], now[0], dim=0) >= SAME_WAY)

    def _are_micro_batches(self) -> bool:
        calls = [call for call in self._calls if call is not None]
        if len(calls) != len(self._calls):
            return False
        if not calls[-1].values():
            return False
        return all(call.is_followed_by(following) for call, following in pairwise(calls))

    def _gradients(self) -> list[Tensor]:
        return _sampled([p.grad for p in self._witnesses if p.grad is not None])

    def _forget(self) -> None:
        self._calls, self._call = [], None
        self._before, self._moved, self._left = [], [], []


def _is_held_in(samples: set[float], others: set[float]) -> bool:
    return bool(samples) and 2 * len(samples & others) > len(samples)


def _sampled(found: Sequence[Tensor]) -> list[Tensor]:
    """Samples end to end, in a list that is empty where there is nothing on one device to read."""
    plain = [t for t in found if t.layout == torch.strided and t.numel()]
    if not plain or len({t.device for t in plain}) > 1:
        return []
    return [torch.cat([sample_of(t).float() for t in plain])]
