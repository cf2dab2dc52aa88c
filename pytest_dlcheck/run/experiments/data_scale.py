"""How large the data are where they meet the model's first weights, and what the weights make of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import torch
from torch import Tensor

from pytest_dlcheck.run.calls.crossings import Crossing, crossings
from pytest_dlcheck.run.experiment import Experiment
from pytest_dlcheck.run.modules.entries import Entry, entry_of, entry_row, floats
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.trace import Row

_ENTRIES = 8
"""Layers told of, at most."""
_CROSSED = 64
"""Layers followed, at most: what meets the data comes first."""


class DataScale(Experiment):
    """Fills ``data_scale``: a row per layer with weights that is the first to see an input.

    None at all where the model has no such layers.
    """

    fact = "data_scale"
    asks_first_pass = True

    def run(self, rig: Rig) -> Iterable[Row]:
        """Look at the first batch as it passed, in the modes that it is trained in."""
        inputs = floats(rig.call.inputs)
        sizes, keys = {t.numel() for t in inputs}, {_key(t) for t in inputs}
        with torch.no_grad():
            crossed = list(islice(_crossings(rig), _CROSSED))
            entries = [
                number
                for number, crossing in enumerate(crossed)
                if number == 0 or (crossing.given.numel() in sizes and _key(crossing.given) in keys)
            ]
            return [entry_row(crossed, number) for number in entries[:_ENTRIES]]


def _crossings(rig: Rig) -> Iterator[Entry]:
    """The calls of layers with weights, in the order in which they return."""
    entered: list[Crossing[list[Tensor]]] = []
    for crossing in _path(rig):
        if crossing.entering:
            entered.append(crossing)
            continue
        while entered and entered[-1].site != crossing.site:
            entered.pop()  # what it raised was caught by the model
        module = rig.model.get_submodule(crossing.site)
        given = entered.pop().seen if entered else ()
        if entry := entry_of(crossing.site, module, given, crossing.seen):
            yield entry


def _path(rig: Rig) -> list[Crossing[list[Tensor]]]:
    """That of the first pass, where it was heard; else of another."""
    if rig.first is not None and rig.first.heard is not None:
        found: list[Crossing[list[Tensor]]] = rig.first.heard.path
        return found
    call = rig.call
    with crossings(rig.model, list) as path, rig.undisturbed(), torch.no_grad(), rig.autocast():
        call()
    return path


def _key(tensor: Tensor) -> tuple[float, ...]:
    """Equal for equal tensors, of whatever shape: the model is given copies."""
    return tensor.numel(), float(tensor.sum()), float(tensor.min()), float(tensor.max())
