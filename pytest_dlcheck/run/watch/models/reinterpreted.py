"""Layers that are given a view that exchanges the sizes of axes, and not their numbers.

A view takes numbers in the order in which they lie. Where it gives sizes of the same axes in another
order, the layer finds numbers of one axis along another. No judgement.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils.weak import WeakIdKeyDictionary

from pytest_dlcheck.run.losses.graphs.cuts import VIEWS, sizes_before
from pytest_dlcheck.run.modules.arguments import argument
from pytest_dlcheck.run.tensors.tree import is_plain, tensors
from pytest_dlcheck.run.watch.models.channels_last import ALIKE, taken_for_first
from pytest_dlcheck.trace import Row

KINDS = (_ConvNd, nn.RNNBase, nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.Linear)
"""Layers that take one axis for features, and not all of them alike."""
PARTS = 4
"""Tensors of a batch that are known again."""
LOOKS = 8
"""Calls of a layer that are looked at, the first ones."""
_SEQUENCES = 3
"""Axes of a batch of sequences; those of images are exchanged by no cutting into patches."""


@dataclass
class _Layer:
    calls: int = 0
    turned: int = 0
    shape: str = ""
    given: str = ""


class Reinterpreted:
    """What layers are given in calls that train."""

    def __init__(self) -> None:
        self._batch: list[Tensor] = []
        self._layers: MutableMapping[nn.Module, _Layer] = WeakIdKeyDictionary()

    def batch_is_read(self, batch: object) -> None:
        """A loader's iterator has given a batch."""
        self._batch = [t for t in tensors(batch)[:PARTS] if is_plain(t) and t.numel()]

    def backward_begins(self) -> None:
        """The batch is done with."""
        self._batch = []

    def returns(self, module: nn.Module, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        """Any module has returned."""
        if not isinstance(module, KINDS) or not torch.is_grad_enabled():
            return
        name = "query" if isinstance(module, nn.MultiheadAttention) else "input"
        given = argument(arguments, named, 0, name)
        if not isinstance(given, Tensor) or not is_plain(given) or not given.is_floating_point():
            return
        layer = self._layers.setdefault(module, _Layer())
        if layer.calls < LOOKS:
            layer.calls += 1
            before = self._viewed(given)
            if not before and isinstance(module, _ConvNd):
                before = taken_for_first(module, given, self._batch)
            if before and is_scrambled(module, before, given.shape):
                layer.turned += 1
                layer.shape, layer.given = str(list(given.shape)), str(list(before))

    def rows(self, model: nn.Module) -> tuple[Row, ...]:
        """The layers of a model that were given such."""
        return tuple(
            Row(
                kind="view",
                site=name or type(module).__name__,
                type=type(module).__name__,
                calls=layer.calls,
                turned=layer.turned,
                shape=layer.shape,
                batch=layer.given,
            )
            for name, module in model.named_modules()
            if (layer := self._layers.get(module)) is not None and layer.turned
        )

    def _viewed(self, given: Tensor) -> Sequence[int]:
        """The shape of what a tensor is a view of, number by number; empty where it is none."""
        node = given.grad_fn
        if node is not None:
            return sizes_before(node) if type(node).__name__.startswith(VIEWS) else ()
        whole = given._base  # noqa: SLF001  so torch calls what a view was taken of
        if whole is None or given.data_ptr() != whole.data_ptr() or given.dtype != whole.dtype:
            return ()
        lies_in_order = whole.is_contiguous() and given.is_contiguous()
        known = lies_in_order and any(_are_its_numbers(whole, batch) for batch in self._batch)
        return whole.shape if known else ()


def is_scrambled(module: nn.Module, before: Sequence[int], after: Sequence[int]) -> bool:
    """Whether a view has the sizes of what it was taken of in another order; those of 1 not counted.

    Args:
        module: which is given the view.
        before: sizes of all axes.
        after: likewise, of the view.
    """
    one, other = ([size for size in shape if size != 1] for shape in (before, after))
    if one == other or sorted(one) != sorted(other):
        return False
    if not is_regrouping(before, after):
        return True
    within = before[0] == after[0]
    return within and (isinstance(module, _ConvNd) or len(after) > _SEQUENCES)


def is_regrouping(before: Sequence[int], after: Sequence[int]) -> bool:
    """Whether axes are split and merged whole, as a signal is cut into patches.

    Args:
        before: sizes of all axes.
        after: likewise, of as many numbers.
    """
    borders = sorted({prod(shape[axis:]) for shape in (before, after) for axis in range(len(shape))})
    return all(large % small == 0 for small, large in pairwise(borders))


def _are_its_numbers(whole: Tensor, batch: Tensor) -> bool:
    """Whether a tensor holds a loader's batch as it is, or in another unit."""
    if whole.shape != batch.shape:
        return False
    if whole.data_ptr() == batch.data_ptr():
        return True
    with torch.no_grad():
        both = [each.detach().flatten().to("cpu", torch.float64) for each in (whole, batch)]
        return float(torch.corrcoef(torch.stack(both))[0, 1]) >= ALIKE
