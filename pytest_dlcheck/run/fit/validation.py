"""All of the validation data, in its own order, or why there is none. Nothing is measured here."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import Any

from torch.utils.data import BatchSampler, DataLoader, RandomSampler

from pytest_dlcheck.recipe import Recipe, RecipeError, described
from pytest_dlcheck.run.errors import NotApplicableError
from pytest_dlcheck.run.stream import as_loader
from pytest_dlcheck.trial import Trial


def refuse(recipe: Recipe, trial: Trial) -> None:
    """Refuse, before anything is trained, what could not be measured afterwards.

    Raises:
        NotApplicableError: there is no validation data.
        RecipeError: it is empty or of no known form, a metric is none, or epochs cannot be counted.
    """
    if recipe.train is not None and trial.until is not None:
        raise RecipeError("epochs= cannot be counted in your own loop (train=): give steps= instead")
    if recipe.val_data is None:
        raise NotApplicableError("the recipe gives no val_data=, which metrics are measured on")
    if inspect.isgeneratorfunction(inspect.unwrap(recipe.training_step or len)) and not recipe.forward:
        raise NotApplicableError(
            "several objectives are trained against each other: metrics need forward=(model, batch)"
        )
    loader = as_loader(recipe.val_data, "val_data")
    if isinstance(loader, Sized) and _length(loader) == 0:
        raise RecipeError(_EMPTY)
    if not isinstance(recipe.metrics, Mapping):
        raise RecipeError(f"metrics= is {described(recipe.metrics)}, not a dict of name to metric")
    for name, metric in recipe.metrics.items():
        if isinstance(metric, type) or not (callable(metric) or is_metric_object(metric)):
            wanted = "metric(outputs, targets) -> float or an object with update() and compute()"
            raise RecipeError(f"metrics={{{name!r}: ...}} is {described(metric)}: give {wanted}")


def is_metric_object(metric: Any) -> bool:
    """Whether it gathers what it is shown, as the metrics of torchmetrics do."""
    return all(callable(getattr(metric, name, None)) for name in ("update", "compute"))


def batches(source: Any) -> Iterator[Any]:
    """Every batch of the validation data, in the data's own order where a loader would shuffle it.

    So examples keep their place from seed to seed, and between two commits.

    Raises:
        RecipeError: there is no batch.
    """
    empty = True
    for batch in _in_order(as_loader(source, "val_data")):
        empty = False
        yield batch
    if empty:
        raise RecipeError(_EMPTY)


_EMPTY = "val_data is empty: it gives no batch to measure metrics on"


def _in_order(loader: Iterable[Any]) -> Iterable[Any]:
    if not isinstance(loader, DataLoader) or type(loader.sampler) is not RandomSampler:
        return loader
    if type(loader.batch_sampler) is not BatchSampler:
        return loader
    return DataLoader(
        loader.dataset,
        batch_size=loader.batch_size,
        collate_fn=loader.collate_fn,
        num_workers=loader.num_workers,
        worker_init_fn=loader.worker_init_fn,
    )


def _length(loader: Sized) -> int | None:
    try:
        return len(loader)
    except TypeError:  # a loader of a data set that has none
        return None
