"""Models that are built anew, trained a little and dropped, each before the next; no judgement.

Every epoch of a loop that builds its model inside of it looks so, if only the last model is used.
"""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pytest_dlcheck.run.code.lines import frame_of_the_loop
from pytest_dlcheck.run.modules.freshness import is_untrained
from pytest_dlcheck.run.watch.batches.one_pass import BY_CHANCE
from pytest_dlcheck.run.watch.batches.prints import weigh
from pytest_dlcheck.run.watch.batches.seen import Seen, seen_of
from pytest_dlcheck.run.watch.counted import Counted
from pytest_dlcheck.run.watch.models.following import Sample

if TYPE_CHECKING:
    from pytest_dlcheck.run.watch.strand import Strand

FRESH = 0.8
"""Share of the weights of which that can be told (ratio) that must look freshly drawn; chosen, as
initialisations vary."""
NEXT = 2
"""Models after such a row (count) of which one is used: where a function returns them, the last but one
is gone only after the last was trained."""
LOOKED_AT = 8
"""Weights looked at for all (count): a model is drawn as a whole."""
ASKED = 32
"""Calls without gradients (count) of which the samples are remembered: the first ones."""
_RATES = ("lr", "initial_lr")


class Fate:
    """What becomes of one model, beside being trained.

    Args:
        model: which.
        optimizer: that steps it for the first time.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.settings, self.rates = _settings(optimizer), _rates(optimizer)
        self.counted = Counted.of(frame_of_the_loop())
        self.is_fresh = _is_fresh(model)
        stepped = {id(p) for group in optimizer.param_groups for p in group["params"]}
        own = enumerate(model.parameters())
        self.began = Sample.of(model, [place for place, p in own if id(p) in stepped])
        """Some of the parameters that are stepped as they were."""
        self._parameters = [weakref.ref(p) for p in model.parameters()]
        self._open = 0
        self.is_asked = self.is_gone = False
        self.outlived = 0
        """Models that began to be trained while something of this one was left."""
        self._answered: list[Seen] = []

    def is_asked_about(self, arguments: Any) -> None:
        """The model is called without gradients.

        Args:
            arguments: on what.
        """
        if len(self._answered) >= ASKED:
            return
        seen = seen_of(arguments, 0, 0, training=False, era=0)
        if seen is not None:
            weigh([seen.prints])
            self._answered.append(seen)

    def answered(self) -> set[float]:
        """The samples that it was called on without gradients, by their numbers."""
        return {value for seen in self._answered for value in seen.values()}

    def is_called(self, *, with_gradients: bool) -> None:
        """The model is called, or its weights are taken."""
        self._open += with_gradients
        self.is_asked |= not with_gradients

    def is_propagated(self) -> None:
        """What it was called for was to train."""
        self._open = 0

    def look(self) -> None:
        """Another model begins to be trained: is anything left of this one?"""
        self.is_gone = self.is_gone or all(parameter() is None for parameter in self._parameters)
        self.outlived += not self.is_gone

    @property
    def is_open(self) -> bool:
        """Whether it was called with gradients and nothing was propagated since."""
        return self._open > 0

    @property
    def is_used(self) -> bool:
        """Whether something was asked of it that does not train it, during or after its training."""
        return self.is_asked or self.is_open


def discarded(strands: Sequence[Strand]) -> tuple[int, bool]:
    """The longest row of such models, and whether the one that ends it is used.

    All are equal but for the draw of their weights, and trained by equal optimizers for equally many
    steps, once over the same samples; and nothing is counted that has a model of its own each.
    """
    longest, then = 0, False
    for start in range(len(strands)):
        count = 0
        while start + count < len(strands) and _is_dropped(strands[start + count], strands[start]):
            count += 1
        if count > longest and len({s.began_as for s in strands[start : start + count]}) == count:
            following = strands[start + count : start + count + NEXT]
            longest = count
            then = any(_are_equal(s, strands[start]) and s.fate.is_used for s in following)
    return longest, then


def _is_dropped(strand: Strand, first: Strand) -> bool:
    counts_others = strand.fate.counted.others != first.fate.counted.others
    return (
        strand.fate.is_gone and not (strand.fate.is_used or counts_others) and _are_equal(strand, first)
    )


def _are_equal(one: Strand, other: Strand) -> bool:
    return one.fate.rates == other.fate.rates and are_alike(one, other)


def are_alike(one: Strand, other: Strand) -> bool:
    """Whether two models are equal but for the draw of their weights, and equally trained.

    That is by optimizers that are equal but for their learning rates, once over the same samples.
    """
    return (
        one.fate.is_fresh
        and other.fate.is_fresh
        and one.step == other.step > 1
        and (one.name, one.shapes, one.fate.settings) == (other.name, other.shapes, other.fate.settings)
        and are_on_the_same_data(one, other)
    )


def are_on_the_same_data(one: Strand, other: Strand, share: float = BY_CHANCE) -> bool:
    """Whether both are trained once over samples of the same data.

    Args:
        one: a training.
        other: of as many steps.
        share: of what chance alone has in common (ratio) that is enough.
    """
    mine, theirs = one.exposure.trained_once(one.step), other.exposure.trained_once(other.step)
    return mine is not None and theirs is not None and mine.is_of_the_data_of(theirs, one.step, share)


def _is_fresh(model: nn.Module) -> bool:
    told = (fresh for p in model.parameters() if (fresh := is_untrained(p)) is not None)
    some = list(islice(told, LOOKED_AT))
    return bool(some) and sum(some) >= FRESH * len(some)


def _settings(optimizer: torch.optim.Optimizer) -> Hashable:
    """What its groups say, without their parameters and learning rates."""
    left_out = {"params", *_RATES}
    return tuple(
        tuple(sorted((key, repr(value)) for key, value in group.items() if key not in left_out))
        for group in optimizer.param_groups
    )


def _rates(optimizer: torch.optim.Optimizer) -> tuple[float, ...]:
    """The learning rates of its groups."""
    found = (group.get(key) for group in optimizer.param_groups for key in _RATES)
    return tuple(float(rate) for rate in found if rate is not None)
