"""One data set cut in two, by the fold that the trial at hand asks for. It trains nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, Subset

from pytest_dlcheck.recipe import RecipeError, described
from pytest_dlcheck.trial import Trial

PARTS = 5
"""Parts of which one is validated on where no folds are asked for: 80 and 20 %."""


@dataclass
class Cut:
    """Which fold is to be validated on, and whether anybody asked."""

    fold: int = 0
    folds: int = 1
    asked: bool = False


_CUT: ContextVar[Cut | None] = ContextVar("dlcheck_cut", default=None)


@contextmanager
def cutting(trial: Trial) -> Iterator[Cut]:
    """Let :func:`split` cut by the trial's fold inside."""
    cut = Cut(trial.fold, trial.folds)
    token = _CUT.set(cut)
    try:
        yield cut
    finally:
        _CUT.reset(token)


def refuse_unsplit(cut: Cut) -> None:
    """Refuse folds of a recipe that has not asked for its part of the data.

    Raises:
        RecipeError: says how it is asked for.
    """
    if cut.folds > 1 and not cut.asked:
        raise RecipeError(
            f"folds={cut.folds} is asked for, and the recipe was built without asking for its part of "
            "the data, so that every fold would be validated on the same: let the factory take the "
            "fixture dlcheck_split and write train, val = dlcheck_split(dataset) in it; it must be "
            "called afresh for each fold (not rebuild=False)"
        )


def split(dataset: Any, *, seed: int = 0) -> tuple[Any, Any]:
    """Cut a data set in two, to train and to validate on; always the same way.

    Under ``folds=k`` it is cut into k parts of nearly equal size, of which the trial's own is
    validated on; otherwise into five, of which the first is (80 and 20 %). Labels that are cheap to
    read (``targets``, ``labels``, the last tensor) are spread evenly over the parts. The cut does not
    depend on the trial's seed, so that every seed is measured on the same examples. Samples are drawn
    at random: do not cut a time series, or a set with near duplicates, this way.

    Args:
        dataset: a ``Dataset`` with a length, or a tuple of tensors (first axis: samples).
        seed: of the cut.

    Returns:
        Two of the same form: a ``Subset`` each, or a tuple of tensors each.

    Raises:
        RecipeError: it cannot be cut, or holds fewer samples than parts.
    """
    cut = _CUT.get() or Cut()
    cut.asked = True
    count = _count(dataset)
    parts = cut.folds if cut.folds > 1 else PARTS
    if count < parts:
        raise RecipeError(f"a data set of {count} samples cannot be cut into {parts} parts")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    labels = _labels(dataset, count)
    if labels is not None:
        order = order[torch.argsort(labels[order], stable=True)]
    part = torch.arange(count) % parts
    fold = cut.fold if cut.folds > 1 else 0
    chosen = (order[part != fold].sort().values, order[part == fold].sort().values)
    return _taken(dataset, chosen[0]), _taken(dataset, chosen[1])


def _count(dataset: Any) -> int:
    if (
        isinstance(dataset, tuple)
        and dataset
        and all(isinstance(p, Tensor) and p.dim() for p in dataset)
    ):
        counts = {len(part) for part in dataset}
        if len(counts) > 1:
            raise RecipeError(f"dlcheck_split: the tensors hold {sorted(counts)} samples")
        return counts.pop()
    streams = isinstance(dataset, IterableDataset)
    if streams or not isinstance(dataset, Sized) or not hasattr(dataset, "__getitem__"):
        given = "a data set that can only be read in order" if streams else described(dataset)
        raise RecipeError(
            f"dlcheck_split takes a data set with a length, or a tuple of tensors, not {given}"
        )
    return len(dataset)


def _taken(dataset: Any, indices: Tensor) -> Any:
    if isinstance(dataset, tuple):
        return tuple(part[indices.to(part.device)] for part in dataset)
    return Subset(dataset, indices.tolist())


def _labels(dataset: Any, count: int) -> Tensor | None:
    """Class labels, int64 of shape ``[count]``, where reading them reads no sample."""
    if isinstance(dataset, Subset):
        whole = _labels(dataset.dataset, len(dataset.dataset))  # type: ignore[arg-type]
        return None if whole is None else whole[torch.as_tensor(list(dataset.indices))]
    tensors = dataset if isinstance(dataset, tuple) else getattr(dataset, "tensors", ())
    several = isinstance(tensors, tuple) and len(tensors) > 1
    held = [tensors[-1]] if several else [getattr(dataset, name, None) for name in _NAMES]
    return next((found for one in held if (found := _as_labels(one, count)) is not None), None)


_NAMES = ("targets", "labels", "y")


def _as_labels(held: Any, count: int) -> Tensor | None:
    if isinstance(held, (list, tuple)) and all(type(label) is int for label in islice(held, count)):
        held = torch.tensor(held)
    dtype = getattr(held, "dtype", None)
    if not isinstance(held, Tensor) and dtype is not None and getattr(dtype, "kind", "") in {"i", "u"}:
        held = torch.as_tensor(held)
    if not isinstance(held, Tensor) or held.is_floating_point() or held.is_complex():
        return None
    flat = held.detach().cpu().reshape(-1).long()
    return flat if len(flat) == count else None
