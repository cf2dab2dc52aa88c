"""A bounded sample of the validation data, spread over all of it, as batches. Nothing is judged."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset, SequentialSampler, Subset

from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.stream import as_loader
from pytest_dlcheck.run.tensors.tree import batch_size, take, to_device


def sample(rig: Rig, source: Any, samples: int, seconds: float) -> list[Any]:
    """Batches of up to so many samples, read in up to so many seconds.

    Args:
        rig: the recipe; call inside ``rig.undisturbed()``, since loaders draw random numbers.
        source: the recipe's data, in any of its forms.
        samples: how many are wanted; where the data stands in order, they are spread over it.
        seconds: after which no further batch is read.

    Raises:
        RecipeError: the data has no form that is known.
    """
    loader = as_loader(source, "val_data")
    began, read, batches = perf_counter(), 0, []
    for batch in _spread(loader, samples):
        here = to_device(batch, rig.device)
        size = rig.samples_in(here)
        dim = rig.recipe.batch_dim
        if read + size > samples > read and dim is not None and batch_size(here, dim):
            here = take(here, torch.arange(min(size, samples - read)), dim)
        batches.append(here)
        read += size
        if read >= samples or perf_counter() - began > seconds:
            break
    return batches


def _spread(loader: Any, samples: int) -> Any:
    """The same loader over every k-th sample, where it would read them in order from the start."""
    plain = isinstance(loader, DataLoader) and isinstance(loader.sampler, SequentialSampler)
    if not plain or loader.batch_size is None or isinstance(loader.dataset, IterableDataset):
        return loader
    dataset: Any = loader.dataset
    count = len(dataset) if hasattr(dataset, "__len__") else 0
    if count <= samples:
        return loader
    indices = torch.linspace(0, count - 1, samples).round().long().tolist()
    return DataLoader(
        Subset(dataset, indices),
        batch_size=min(loader.batch_size, samples),
        collate_fn=loader.collate_fn,
    )
