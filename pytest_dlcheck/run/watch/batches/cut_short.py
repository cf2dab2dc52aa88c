"""Evaluations that leave out the rest of a shuffled loader: another one each time. No judgement."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch.utils.data import BatchSampler

from pytest_dlcheck.run.code.lines import frame_of_the_loop
from pytest_dlcheck.run.watch.batches.broken_off import BrokenOff
from pytest_dlcheck.run.watch.batches.loading import Loading
from pytest_dlcheck.run.watch.batches.names import held_out_name
from pytest_dlcheck.run.watch.batches.scoring_code import scores_together

SOURCES = 16
"""Data sets (count) that are told apart, the first ones."""


@dataclass
class _Source:
    """One data set that is evaluated so.

    Attributes:
        data: which it is, while it lives.
        name: what the loop calls its loader, if that is held out and scored sample by sample.
        left: samples that a pass leaves out, and
        of: how many there are.
        passes: whole ones, and
        times: steps of the optimizer before which there was one.
        last: the last of these.
    """

    data: Callable[[], object]
    name: str
    left: int
    of: int
    passes: int = 0
    times: int = 0
    last: int = -1

    def ends(self, step: int) -> None:
        """One more pass was whole."""
        self.passes += 1
        self.times += step != self.last
        self.last = step


class CutShort:
    """What one model is evaluated on so."""

    def __init__(self) -> None:
        self._trained: set[int] = set()
        self._found: dict[int, _Source] = {}
        self._broken_off = BrokenOff()
        self._in_doubt: tuple[_Source, Any, int] | None = None
        """What gave its only batch last, the numbers that it was read by, and before which step."""

    def trains(self, loading: Loading) -> None:
        """A pass is trained on."""
        self._trained.add(loading.source)
        self._broken_off.trains(loading)

    def evaluates(self, loading: Loading, step: int) -> None:
        """A loader's batch is evaluated, before some step."""
        self._broken_off.evaluates(loading, step)
        self._settle()
        if not (loading.is_shuffled and loading.left_out) or loading.position != loading.length:
            return
        source = self._source(loading)
        if source is None:
            return
        if loading.length > 1:
            source.ends(step)
        elif getattr(loading.reading, "_num_workers", None) == 0:
            self._in_doubt = source, getattr(loading.reading, "_sampler_iter", None), step

    def row(self) -> dict[str, int | str]:
        """What is called held out and never trained on, where most is left out, in numbers."""
        self._settle()
        found = [s for key, s in self._found.items() if key not in self._trained and s.name]
        worst = max(found, key=lambda source: source.left / source.of, default=_NONE)
        return {
            "cut_short": worst.passes,
            "cut_short_times": worst.times,
            "cut_short_left": worst.left,
            "cut_short_of": worst.of,
            "cut_short_name": worst.name,
            **self._broken_off.row(),
        }

    def _settle(self) -> None:
        """A pass of one batch is whole where the loop has asked for a second one."""
        doubt, self._in_doubt = self._in_doubt, None
        if doubt is not None and getattr(doubt[1], "gi_frame", doubt) is None:
            doubt[0].ends(doubt[2])

    def _source(self, loading: Loading) -> _Source | None:
        found, data = self._found.get(loading.source), getattr(loading.reading, "_dataset", None)
        if found is not None and found.data() is data:
            return found
        batches = getattr(loading.reading, "_index_sampler", None)
        if len(self._found) >= SOURCES or type(batches) is not BatchSampler or _draws_some(batches):
            return None
        try:
            reference = weakref.ref(data)
        except TypeError:  # as to a list
            return None
        frame = frame_of_the_loop()
        name = "" if scores_together(frame) else held_out_name(frame, batches)
        found = _Source(reference, name, loading.left_out, loading.samples)
        self._found[loading.source] = found
        return found


def _draws_some(batches: BatchSampler) -> bool:
    """Whether a part was asked for by its size."""
    return getattr(batches.sampler, "_num_samples", None) is not None


_NONE = _Source(lambda: None, "", 0, 0)
