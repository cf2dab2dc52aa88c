"""Does a sample's output change with how far its batch is padded?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, default_collate

from pytest_dlcheck.run.data.epoch import evenly, order_of
from pytest_dlcheck.run.data.own_draws import kept
from pytest_dlcheck.run.data.samples import is_map_style, parts_of
from pytest_dlcheck.run.errors import CannotTellError, NotApplicableError
from pytest_dlcheck.run.experiment import Experiment
from pytest_dlcheck.run.passes.stirring import stirred
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.compare import calibrate, float_outputs, relative_change, tolerance
from pytest_dlcheck.run.tensors.tree import copied, tensors, to_device
from pytest_dlcheck.run.world.seeding import same_draws
from pytest_dlcheck.trace import Row

_READ, _SECONDS = 16, 0.2
"""Samples among which a short and a long one are looked for, and seconds that reading them may take."""
_TWO = 2
"""Samples of a batch that is made up: of one, models may leave out the axis."""


class Padding(Experiment):
    """Puts a short sample beside itself, then beside a long one, by the loader's own ``collate_fn``.

    Fills ``padding``, one row: the relative ``change`` of the outputs of the short sample in eval mode,
    at its own positions where there are such, its ``bound``, and the lengths ``own`` and ``padded`` of
    the axis that was padded.
    """

    fact = "padding"

    def run(self, rig: Rig) -> Iterable[Row]:
        """The row."""
        loader = rig.recipe.train_data
        if rig.recipe.batch_dim is None or rig.recipe.training_step is not None:
            raise NotApplicableError("samples do not stand alone, or are not called one batch at a time")
        if not isinstance(loader, DataLoader) or not is_map_style(loader):
            raise NotApplicableError("the data is no map-style data set: samples cannot be read alone")
        if loader.collate_fn is default_collate:
            raise NotApplicableError("samples are stacked: none is padded")
        with same_draws(rig.seed), kept(*parts_of(loader)):
            alone, beside = _batches(loader)
        first, other = (rig.objective.call(to_device(b, rig.device)).inputs for b in (alone, beside))
        pair = _Pair.of(first, other, rig.input_batch_dim or 0)
        with rig.undisturbed(training=False), stirred(rig), rig.autocast(), torch.no_grad():
            return [pair.row(rig)]


def _batches(loader: DataLoader[Any]) -> tuple[Any, Any]:
    """The shortest of some samples twice, and beside the longest; a sampler may part them by length."""
    order = order_of(loader)
    plain = type(loader.batch_sampler) is BatchSampler
    places = evenly(len(order.indices), _READ) if plain else order.window(0)[:_READ]
    began, read = perf_counter(), []
    for place in places:
        read.append(loader.dataset[order.indices[place]])
        if perf_counter() - began > _SECONDS:
            break
    sizes = [sum(t.numel() for t in tensors(loader.collate_fn([one] * _TWO))) for one in read]
    short, long = (read[sizes.index(choose(sizes))] for choose in (min, max))
    return loader.collate_fn([short, short]), loader.collate_fn([short, long])


@dataclass(frozen=True)
class _Pair:
    """Inputs of two batches that hold the same sample.

    Attributes:
        alone: beside itself.
        beside: beside a longer one.
        dim: the axis of samples.
        place: where the sample is in the second.
        at_end: whether padding comes first, so that the sample's own positions are the last.
        own: the length of the axis that was padded, and
        padded: the same beside the longer one.
    """

    alone: Any
    beside: Any
    dim: int
    place: int
    at_end: bool
    own: int
    padded: int

    @classmethod
    def of(cls, alone: Any, beside: Any, dim: int) -> _Pair:
        """Find the sample again.

        Raises:
            NotApplicableError: nothing was padded.
            CannotTellError: it is not found as it was.
        """
        pairs = list(zip(tensors(alone), tensors(beside), strict=False))
        pairs = [(a, b) for a, b in pairs if a.dim() == b.dim() > dim and a.size(dim) == _TWO]
        if any(b.size(dim) != _TWO for _, b in pairs):
            raise NotApplicableError("samples lie end to end: none is padded")
        grown = [
            (m, n)
            for a, b in pairs
            for axis, (m, n) in enumerate(zip(a.shape, b.shape, strict=True))
            if axis != dim and n > m
        ]
        if not grown:
            raise NotApplicableError("samples are of one size: none is padded")
        for place, at_end in product(range(_TWO), (False, True)):
            rows = [
                (a.select(dim, 0), _own(b.select(dim, place), a.select(dim, 0), at_end=at_end))
                for a, b in pairs
            ]
            if all(own is not None and torch.equal(one, own) for one, own in rows):
                return cls(alone, beside, dim, place, at_end, *grown[0])
        raise CannotTellError("a sample is collated otherwise in other company")

    def row(self, rig: Rig) -> Row:
        """How the outputs of the sample change."""
        calibrate(rig.model, lambda: rig.call(copied(self.beside)))
        first, again, other = (
            self._outputs(rig, given) for given in (self.alone, self.alone, self.beside)
        )
        worst = Row()
        for name, one in first.items():
            compared = self._compared(one, other.get(name))
            if compared is None:
                continue
            change, bound = relative_change(*compared), tolerance(one.dtype)
            if relative_change(one, again[name]) > bound:
                raise CannotTellError("two calls on the same batch differ")
            if not worst or change / bound > worst.number("change") / worst.number("bound"):
                worst = Row(output=name, change=change, bound=bound, own=self.own, padded=self.padded)
        if not worst:
            raise CannotTellError("no output has a part for each sample")
        return worst

    def _outputs(self, rig: Rig, given: Any) -> dict[str, Tensor]:
        with same_draws(rig.seed):
            return float_outputs(rig.call(copied(given)))

    def _compared(self, one: Tensor, other: Tensor | None) -> tuple[Tensor, Tensor] | None:
        """The same sample's part of both outputs, at its own positions."""
        if other is None or one.dim() != other.dim():
            return None
        axes = [axis for axis in (self.dim, 0, 1) if axis < one.dim()]
        axis = next((a for a in axes if one.size(a) == other.size(a) == _TWO), None)
        if axis is None:
            return None
        mine = one.select(axis, 0)
        theirs = _own(other.select(axis, self.place), mine, at_end=self.at_end)
        return None if theirs is None else (mine, theirs)


def _own(padded: Tensor, like: Tensor, *, at_end: bool) -> Tensor | None:
    """The part of a padded sample that is as large as it was; None where it is not that large."""
    if any(m > n for m, n in zip(like.shape, padded.shape, strict=True)):
        return None
    for axis, length in enumerate(like.shape):
        padded = padded.narrow(axis, padded.size(axis) - length if at_end else 0, length)
    return padded
