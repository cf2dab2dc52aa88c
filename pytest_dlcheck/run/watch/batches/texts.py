"""Texts that a loop cuts its windows from: whether it trains on what only the held-out one has.

A text repeats itself, so that a held-out window may well stand in the training text too. What is trained
on stands there by all means, unless it is cut from the held-out part itself. Counts, no judgement.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.code.frames import named
from pytest_dlcheck.run.losses.graphs.next_words import are_words
from pytest_dlcheck.run.watch.batches.names import FRAMES, is_held_out
from pytest_dlcheck.run.watch.batches.windows import STEPS, Stretches, codes_of
from pytest_dlcheck.trace import Row

LONG = 1 << 19
"""Steps of a text that is looked into, at most: six of four times as many took 540 MB for a moment."""
TEXTS = 6
"""Texts (count) that are looked into at once."""
LOOKS = 4, 16, 64
"""Evaluations on a held-out text (count) after which it is looked."""
KNOWN = 0.95
"""Share of what is trained on (ratio) that must stand in the texts that are seen: else others exist."""


class Texts:
    """The texts of one training, as far as variables hold them when it is evaluated."""

    def __init__(self) -> None:
        self._evaluated = 0
        self._row = Row(text="", text_windows=0, text_only=0)

    def is_evaluated(self, frame: FrameType | None, given: Any, trained: Sequence[Any]) -> None:
        """The model is called without gradients, on what no loader gave.

        Args:
            frame: of the function that calls it.
            given: the first tensor.
            trained: what was trained on, with ``windows``, in order.
        """
        if not isinstance(given, Tensor) or not are_words(given) or given.shape[1] < STEPS[0]:
            return
        self._evaluated += 1
        if self._evaluated not in LOOKS or not given.is_cpu:
            return
        windows = [each.windows for each in trained if each.windows is not None]
        windows = [each for each in windows if each.shape[1:] == given.shape[1:] and each.is_cpu]
        if windows:
            self._look(list(_texts(frame)), given[:1], torch.cat(windows))

    def _look(self, texts: list[tuple[str, Tensor]], asked: Tensor, trained: Tensor) -> None:
        steps = asked.shape[1]
        known = [(name, _places(text, steps)) for name, text in texts if len(text) > steps]
        first, ours = (Stretches(codes_of(each)).numbers(steps)[:, 0] for each in (asked, trained))
        for name, held in known:
            if is_held_out(name) and bool(torch.isin(first, held).all()):
                elsewhere = torch.isin(ours, torch.cat([_outside(each, held) for _, each in known]))
                here = torch.isin(ours, held)
                if float((here | elsewhere).float().mean()) >= KNOWN:
                    only = int((here & ~elsewhere).sum())
                    self._row = Row(text=name, text_windows=len(ours), text_only=only)
                return

    def row(self) -> Row:
        """How many of the windows that were trained on stand in the held-out text alone."""
        return self._row


def _texts(frame: FrameType | None) -> Iterator[tuple[str, Tensor]]:
    """Variables that may be texts."""
    count = 0
    for name, value in named(frame, FRAMES):
        is_text = type(value) is Tensor and value.is_cpu and value.dim() == 1
        if is_text and not value.is_floating_point() and value.dtype in {torch.int64, torch.int32}:
            count += 1
            if STEPS[0] < len(value) <= LONG and count <= TEXTS:
                yield name, value


def _places(text: Tensor, steps: int) -> Tensor:
    """A number of each window of a text, by its place."""
    return Stretches(codes_of(text[None])).numbers(steps)[0]


def _outside(places: Tensor, held: Tensor) -> Tensor:
    """The same without those that lie in a held-out text, where that is a part of this one.

    What holds it several times repeats itself, and is no text that it was cut from.
    """
    begins = (places == held[0]).nonzero()[:, 0].tolist()
    inside = [begin for begin in begins if torch.equal(places[begin : begin + len(held)], held)]
    if len(inside) != 1:
        return places
    return torch.cat([places[: inside[0]], places[inside[0] + len(held) :]])
