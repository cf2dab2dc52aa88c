"""How many samples the weights of a random sampler can reach. No judgement."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, WeightedRandomSampler

from pytest_dlcheck.run.data.unindexed import ignores_its_numbers
from pytest_dlcheck.trace import Scalar

CHOOSING = frozenset({"randint", "randrange", "randperm", "integers", "choice", "choices", "sample"})
"""What chooses at random: a data set that does so may be asked for the number of a class."""


def weighted_draws(sampler: Any, dataset: Any) -> dict[str, Scalar]:
    """Of a sampler that draws by weights, how many these are, beside the samples; else empty.

    Args:
        sampler: that a loader takes its indices from, or its batches of them.
        dataset: what it draws from.
    """
    while type(sampler) is BatchSampler:
        sampler = sampler.sampler
    # an ``__iter__`` of one's own may draw by other weights, or from some of the samples only
    if getattr(type(sampler), "__iter__", None) is not WeightedRandomSampler.__iter__:
        return {}
    weights = getattr(sampler, "weights", None)
    if not isinstance(weights, Tensor) or weights.dim() != 1:
        return {}
    if ignores_its_numbers(dataset) or _chooses(dataset):
        return {}
    try:
        samples = len(dataset)
    except (TypeError, NotImplementedError):
        return {}
    reached = int(torch.count_nonzero(weights))
    return {
        "weights": len(weights),
        "weighted": min(reached, samples),
        "weighted_samples": samples,
        "uneven": bool(len(weights) and (weights != weights[0]).any()),
        "weighted_by": type(sampler).__name__,
    }


def _chooses(dataset: Any) -> bool:
    code = getattr(getattr(type(dataset), "__getitem__", None), "__code__", None)
    return bool(CHOOSING & set(getattr(code, "co_names", ())))
