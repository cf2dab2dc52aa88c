"""One model that is evaluated and not stepped: when it was called, and whether it has moved."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel

from pytest_dlcheck.run.watch.batches.few import Few, first_plain
from pytest_dlcheck.run.watch.evaluated.averages import is_called_average
from pytest_dlcheck.run.watch.evaluated.lagging import Lag
from pytest_dlcheck.run.watch.evaluated.moment import Moment
from pytest_dlcheck.run.watch.models.following import Sample, has_moved, is_fresh, size_beside
from pytest_dlcheck.run.watch.strand import Strand

WRITTEN = 16
"""Changes in place (count) of every parameter that make an average: a copy has none, one that was
initialised and loaded a few."""
FINE = 256
"""Roundings (count) up to which nothing else has changed it: to half precision are 4,000."""
APART = 3
"""Steps of the trained model (count) between two rows of calls from which on they are no part of a step,
as a teacher's targets are."""
SEVERAL = 2
"""Calls in a row, or batches of a loader (count), that make a validation."""


@dataclass
class Twin:
    """What was seen of one; it looks as something that is trained, where that is known."""

    model: weakref.ref[nn.Module]
    name: str
    keys: frozenset[int]
    shapes: list[torch.Size]
    before: Sample
    steps: int
    trained: Strand | None = None
    then: Sample | None = None
    """The training of what it may follow, and what that was at the same time as it."""
    was_copy: bool = False
    """Whether it had the weights of the trained model when the training began."""
    since: int = -1
    """The event of its first call; none yet."""
    row: int = -1
    own_step: int = -APART
    """Steps of the trained model at its last call."""
    is_apart: bool = False
    """Whether the row that goes on is no part of a step."""
    in_steps: int = 0
    """Rows on end that were."""
    calls: int = 0
    batches: int = 0
    validations: int = 0
    first: Few | None = None
    again: int = 0
    """Rows of calls that begin with what the first one began with."""
    last: int = 0
    moved: bool = False
    is_fresh: bool | None = None
    """Whether its weights look as drawn, in all that tell; None before it was looked at."""
    is_average: bool = False
    """Whether it is torch's own, or its parameters were written to, again and again."""
    is_called_so: bool = False
    """Whether it is not torch's own, and the loop has a name for it that says so."""
    is_in_vain: bool = False
    """Whether rounding alone has changed it, or its own numbers, as an average of what stands still."""
    written: int = 0
    """Changes in place of every parameter before it was known, and"""
    writes: int = 0
    """since then."""
    is_restless: bool = False
    """Whether these have changed it by rounding alone."""
    size: float = 1.0
    """How large it is beside all that it may be an average of (ratio), where it is one."""
    unset: int = 0
    """Its batch norms with the statistics of the beginning, where it has moved, and all are so."""
    lag: Lag = field(default_factory=Lag)

    def is_called(
        self, model: nn.Module, arguments: Any, now: Moment, own_step: int, *, from_loader: bool
    ) -> None:
        """Once more, or in a new row."""
        begins = self.row != now.backwards
        if begins:
            self.row, self.calls, self.batches = now.backwards, 0, 0
            self.is_apart = own_step - self.own_step >= APART
        if self.since < 0:
            self.is_called_so = not isinstance(model, AveragedModel) and is_called_average(model)
        self.since, self.own_step = now.event if self.since < 0 else self.since, own_step
        self.calls += 1
        self.batches += from_loader
        validates = self.calls == SEVERAL and (self.is_apart or self.batches >= SEVERAL)
        if begins and self.is_apart:
            self.in_steps = 0
            self._compare(arguments)
        if validates or (begins and self.is_apart):
            self.validations += validates
            self.last = now.steps
            self._look(model, now.steps)

    def is_glanced_at(self, model: nn.Module, now: Moment, own_step: int) -> None:
        """It is called in train mode, which makes no difference to it: that may be no evaluation."""
        is_apart = own_step - self.own_step >= APART
        self.since, self.own_step = now.event if self.since < 0 else self.since, own_step
        if is_apart:
            self.last, self.in_steps = now.steps, 0
            self._look(model, now.steps)

    def _compare(self, arguments: Any) -> None:
        given = first_plain(arguments)
        if given is None:
            return
        few = Few.of(given)
        if self.first is None:
            self.first = few
        else:
            self.again += few.shape == self.first.shape and few.is_as(self.first)

    def _look(self, model: nn.Module, steps: int) -> None:
        own = model_of(self.trained)
        self.moved |= has_moved(model, self.before, own, self.then, steps - self.steps)
        count = _changes(model)
        self.writes = count - self.written
        self.is_average |= isinstance(model, AveragedModel) or count >= WRITTEN
        if own is not None and self.trained is not None:
            self.lag.look(model, own, self.trained.step)
        if self.is_average and self.moved and own is not None and self.trained is not None:
            self.size = size_beside(model, self.trained.fate.began, own)
        is_rounded = not self.moved and not self.before.equals(model)
        is_fine = is_rounded and self.before.change(model) <= FINE * self.before.ulp()
        self.is_restless = is_fine and self.writes >= WRITTEN
        is_rewritten = count >= WRITTEN and not self.moved and not is_rounded
        self.is_in_vain = (is_fine or is_rewritten) and self.was_copy
        self.unset = _unset(model, own) if self.moved and own is not None else 0
        if self.is_fresh is None and not self.moved and max(self.again, self.validations) >= SEVERAL:
            self.is_fresh = is_fresh(model)


def begin(model: nn.Module, steps: int, strands: Sequence[Strand]) -> Twin:
    """One that is met for the first time.

    Args:
        model: which.
        steps: optimizer steps before it.
        strands: what is trained, of which it may look as one.
    """
    parameters = list(model.parameters())
    shapes = [p.shape for p in parameters]
    keys, name = frozenset(map(id, parameters)), type(model).__name__
    for strand in strands:
        if strand.shapes == shapes and (own := model_of(strand)) is not None:
            began = strand.fate.began
            before, then = (Sample.of(one, began.among) for one in (model, own))
            twin = Twin(weakref.ref(model), name, keys, shapes, before, steps, strand, then)
            if strand.step and not has_moved(model, began, own, began, strand.step):
                twin.was_copy, twin.before, twin.then = True, began, began
                twin.steps = steps - strand.step
            break
    else:
        twin = Twin(weakref.ref(model), name, keys, shapes, Sample.of(model), steps)
    twin.written = _changes(model)
    return twin


def _changes(model: nn.Module) -> int:
    """How often each parameter was changed in place, at least."""
    counted = (p._version for p in model.parameters() if not p.is_inference())  # noqa: SLF001  public only by name
    return min(counted, default=0)


def model_of(strand: Strand | None) -> nn.Module | None:
    """What is trained, as long as it is."""
    return None if strand is None or strand.scene is None else strand.scene.model


def _unset(model: nn.Module, trained: nn.Module) -> int:
    """A model's batch norms, where all have the statistics of the beginning, and none of the trained."""
    own, its = _batch_norms(model), _batch_norms(trained)
    are_set = bool(its) and not any(map(_is_as_made, its))
    return len(own) if are_set and own and all(map(_is_as_made, own)) else 0


def _batch_norms(model: nn.Module) -> list[_BatchNorm]:
    return [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]


def _is_as_made(norm: _BatchNorm) -> bool:
    mean, variance = norm.running_mean, norm.running_var
    return mean is None or variance is None or not (bool(mean.any()) or bool((variance != 1).any()))
