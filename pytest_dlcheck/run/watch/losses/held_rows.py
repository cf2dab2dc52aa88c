"""Whether a loss compares rows that the loop itself calls held out, and scores by the same labels.

As of a graph, all of whose nodes the model is given at once: masks or indices say which are trained on.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.code.frames import attributes, callers, variables
from pytest_dlcheck.run.code.lines import frame_of_the_loop
from pytest_dlcheck.run.code.subscripts import picked_by, stored_in
from pytest_dlcheck.run.losses.graphs.every_row import labels_of_every_row
from pytest_dlcheck.run.losses.graphs.near import Near
from pytest_dlcheck.run.tensors.tree import is_plain
from pytest_dlcheck.run.watch.batches.names import FRAMES, is_held_out, is_trained_on
from pytest_dlcheck.run.watch.batches.seen import FEW
from pytest_dlcheck.run.watch.batches.step_code import Part, code_of_a_step, names_in

DEEP = 4
"""Objects, one in the other, in which variables are looked for: as in a trainer's graph."""
NAMES = 4096
"""Variables (count) around a loss that are looked at: a millisecond."""
TRIES = 8
"""Losses after which labels that were not found to be of held-out rows are not looked for again."""
_OF_MODULES = frozenset({"_modules", "_parameters"})
_MEANT = frozenset(
    {
        *("overfit", "overfitting", "memorize", "memorise", "sanity", "debug", "oracle", "upper"),
        *("topline", "ceiling", "refit", "retrain", "attack"),
    }
)
"""Words of functions that train on all there is, to see what can be reached or for a last model."""


@dataclass
class _Around:
    """What the variables around a loss hold, that has to do with its rows.

    Attributes:
        labels: the names of what the loss compares.
        others: numbers of as many rows, each with its name.
        trained: rows that are for training, and
        held: those that are held out, by name.
    """

    labels: set[str] = field(default_factory=set)
    others: list[tuple[str, Tensor]] = field(default_factory=list)
    trained: dict[str, Tensor] = field(default_factory=dict)
    held: dict[str, Tensor] = field(default_factory=dict)


class HeldRows:
    """Asks losses on the same labels, step after step, whether these are those of held-out rows too."""

    def __init__(self) -> None:
        self._before: tuple[int, int] = 0, 0
        self._fewest, self._tries, self._told = sys.maxsize, 0, ""

    def look(self, near: Near) -> str:
        """Which held-out rows a loss compares, in words; empty where it is not known that it does.

        Args:
            near: nodes of the loss's graph.
        """
        labels = labels_of_every_row(near)
        if labels is None or type(labels) is not Tensor or not is_plain(labels):
            return ""
        fewest, self._fewest = self._fewest, min(self._fewest, len(labels))
        if fewest < len(labels):
            return ""  # some rows were chosen before: now all are, as for a last model
        before, self._before = self._before, (labels.data_ptr(), len(labels))
        if before != self._before:
            self._tries = TRIES if self._told else self._tries  # the loop makes them itself, as clusters
            self._told = ""
        elif not self._told and self._tries < TRIES:
            self._tries += 1
            self._told = _told(frame_of_the_loop(), labels)
        return self._told


def _told(frame: FrameType | None, labels: Tensor) -> str:
    found = _around(frame, labels)
    if not (found.labels and found.trained and found.held):
        return ""
    trained = torch.stack(list(found.trained.values())).any(0)
    held = {name: rows for name, rows in found.held.items() if not bool((rows & trained).any())}
    held = {name: rows for name, rows in held.items() if int(rows.sum()) >= FEW}
    known = labels.cpu()
    if not held or not _varies(known[trained]):
        return ""  # which part a row is of, as to tell domains apart, is no secret
    if any(_completed(known, other, trained) for _, other in found.others):
        return ""
    parts, around = code_of_a_step(frame)
    names = names_in(parts)
    if _MEANT & around or any(_is_another_truth(*each, known, found, parts) for each in found.others):
        return ""
    picked = {word for each in found.labels for part in parts for word in picked_by(part.lines, each)}
    scored = [name for name in held if name in names and _is_scored(name, picked, found)]
    return next((f"{int(held[name].sum())} of {len(labels)}: {name!r}" for name in scored), "")


def _is_scored(name: str, picked: Iterable[str], found: _Around) -> bool:
    """Whether the loop picks its labels by these rows, or by what may stand for them."""
    others = found.trained.keys() | found.held.keys()
    return any(word == name or word not in others for word in picked)


def _is_another_truth(
    name: str, other: Tensor, labels: Tensor, found: _Around, parts: Sequence[Part]
) -> bool:
    """Whether held-out rows are scored by this, and the labels are a teacher's, or of another task.

    What the loop itself makes in each round, such as the model's answers, is only compared with labels.
    """
    if other.dtype == torch.bool or torch.equal(other, labels) or not _varies(other):
        return False
    if any(stored_in(part.lines, name) for part in parts if not part.name):
        return False
    return any(word in found.held for part in parts for word in picked_by(part.lines, name))


def _varies(labels: Tensor) -> bool:
    return bool((labels != labels[:1]).any())


def _completed(labels: Tensor, other: Tensor, trained: Tensor) -> bool:
    """Whether the labels of training rows are another's, and the rest may have been guessed."""
    same = labels == other
    return bool(same[trained].all()) and not bool(same.all())


def _around(frame: FrameType | None, labels: Tensor) -> _Around:
    found, size = _Around(), len(labels)
    for name, value in islice(_named(frame), NAMES):
        if type(value) is not Tensor or not is_plain(value) or value.is_meta:
            continue
        if is_trained_on(name) or is_held_out(name):
            rows = _rows(value, size)
            if rows is not None:
                (found.held if is_held_out(name) else found.trained)[name] = rows
        elif not value.is_floating_point() and not value.is_complex() and value.numel() == size:
            if value.data_ptr() == labels.data_ptr():
                found.labels.add(name)
            else:
                found.others.append((name, value.detach().reshape(-1).cpu()))
    return found


def _rows(value: Tensor, size: int) -> Tensor | None:
    """Which of so many rows a mask or numbers of rows choose; None where it is neither."""
    if value.dim() != 1 or value.is_floating_point() or value.is_complex():
        return None
    if value.dtype == torch.bool:
        return value.detach().cpu() if len(value) == size else None
    if not 0 < len(value) < size or not 0 <= int(value.min()) <= int(value.max()) < size:
        return None
    numbers = value.detach().cpu().long()
    chosen = torch.zeros(size, dtype=torch.bool).scatter(0, numbers, torch.ones_like(numbers).bool())
    return chosen if int(chosen.sum()) == len(value) else None


def _named(frame: FrameType | None) -> Iterator[tuple[str, Any]]:
    """Variables, and what they hold by name, the outermost first."""
    waiting: deque[tuple[dict[Any, Any], int]] = deque()
    waiting.extend((variables(caller), DEEP) for caller in callers(frame, FRAMES))
    while waiting:
        held, deep = waiting.popleft()
        for name, value in held.items():
            if not isinstance(name, str) or name in _OF_MODULES:
                continue
            yield name, value
            if deep and not isinstance(value, Tensor):
                waiting.append((value if type(value) is dict else attributes(value), deep - 1))
