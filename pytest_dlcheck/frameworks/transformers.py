"""A Hugging Face model and its data set as a Recipe, with the defaults of their Trainer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset

from pytest_dlcheck.frameworks.options import refuse_unknown
from pytest_dlcheck.recipe import Recipe, RecipeError, described

BATCH_SIZE = 8
LEARNING_RATE = 5e-5
MAX_GRAD_NORM = 1.0
_LABELS = ("label", "label_ids", "labels")
_DATA = ("batch_size", "collator", "tokenizer")
_OPTIMIZER = ("optimizer", "learning_rate", "weight_decay", "scheduler", "scheduler_interval")


def recipe_from_transformers(model: Any, dataset: Any, options: Mapping[str, Any]) -> Recipe:
    """What :meth:`Recipe.from_transformers` returns; its arguments and errors are described there."""
    refuse_unknown("from_transformers", options, (*_DATA, *_OPTIMIZER))
    if not isinstance(model, torch.nn.Module):
        raise RecipeError(f"from_transformers takes a model, not {described(model)}")
    fields = {key: value for key, value in options.items() if key not in {*_DATA, *_OPTIMIZER}}
    data = {key: options[key] for key in _DATA if key in options}
    fields["val_data"] = _loader(model, fields.get("val_data"), data, shuffle=False)
    return Recipe(
        **{"max_grad_norm": MAX_GRAD_NORM} | fields,
        model=model,
        train_data=_loader(model, dataset, data, shuffle=True),
        optimizer=_optimizer(model, options),
        scheduler=options.get("scheduler"),
        scheduler_interval=options.get("scheduler_interval", "step"),
    )


class Collate:
    """Samples to a batch: columns that the model does not take are dropped, as their Trainer does."""

    def __init__(self, model: Any, collator: Callable[[list[Any]], Any]) -> None:
        self._model_name, self._collator = type(model).__name__, collator
        self._taken = {*inspect.signature(model.forward).parameters, *_LABELS}

    def __call__(self, samples: Sequence[Any]) -> Any:
        """A batch, as a dict of tensors."""
        if not all(isinstance(sample, Mapping) for sample in samples):
            raise RecipeError(
                f"a sample of the data set is {described(samples[0])}, not a dict such as "
                '{"input_ids": ..., "labels": ...}'
            )
        kept = [{k: v for k, v in sample.items() if k in self._taken} for sample in samples]
        if not kept[0]:
            raise RecipeError(
                f"the data set's columns {sorted(map(str, samples[0]))} are none that "
                f"{self._model_name}.forward takes: was it tokenized?"
            )
        batch = self._collator(kept)
        return dict(batch) if isinstance(batch, Mapping) else batch


def _loader(model: Any, dataset: Any, data: Mapping[str, Any], *, shuffle: bool) -> Any:
    if dataset is None or isinstance(dataset, DataLoader):
        return dataset
    if not hasattr(dataset, "__getitem__") and not isinstance(dataset, IterableDataset):
        return dataset  # an iterable of batches, which a recipe takes as it is
    return DataLoader(
        dataset,
        batch_size=data.get("batch_size", BATCH_SIZE),
        shuffle=shuffle and not isinstance(dataset, IterableDataset),
        collate_fn=Collate(model, _collator(data)),
    )


def _collator(data: Mapping[str, Any]) -> Callable[[list[Any]], Any]:
    from transformers import DataCollatorWithPadding, default_data_collator

    given, tokenizer = data.get("collator"), data.get("tokenizer")
    padding = default_data_collator if tokenizer is None else DataCollatorWithPadding(tokenizer)
    collator: Callable[[list[Any]], Any] = padding if given is None else given
    return collator


def _optimizer(model: torch.nn.Module, options: Mapping[str, Any]) -> Any:
    given = options.get("optimizer")
    if given is not None:
        if {"learning_rate", "weight_decay"} & set(options):
            raise RecipeError(
                "optimizer= has its own learning rate and weight decay: give one or the other"
            )
        return given
    trainable = [p for p in model.parameters() if p.requires_grad]
    if not trainable:
        raise RecipeError("no parameter of the model requires grad: nothing could be trained")
    rate = options.get("learning_rate", LEARNING_RATE)
    return torch.optim.AdamW(trainable, lr=rate, weight_decay=options.get("weight_decay", 0.0))
