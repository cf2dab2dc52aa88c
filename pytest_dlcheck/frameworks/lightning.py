"""A LightningModule and its data as a Recipe: automatic optimization, on Lightning's public hooks."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from math import ceil, inf, isfinite
from typing import Any

from pytest_dlcheck.frameworks.lightning_optimizers import configured, overrides
from pytest_dlcheck.frameworks.lightning_trainer import bystander, lightning_of, quiet, unlogged
from pytest_dlcheck.frameworks.options import refuse_unknown
from pytest_dlcheck.recipe import Recipe, RecipeError

_TRAINER = ("max_epochs", "max_steps", "gradient_clip_val", "accumulate_grad_batches")
_PRECISIONS = {
    "16-mixed": "fp16-mixed",
    "32-true": "fp32",
    "32": "fp32",
    "fp16-mixed": "fp16-mixed",
    "bf16-mixed": "bf16-mixed",
    "fp32": "fp32",
}
_STEER = ("optimizer_step", "backward", "configure_gradient_clipping")
"""Hooks through which a module trains in a way of its own."""
_BY_HAND = (
    "watch its own trainer.fit(...) instead, or write "
    "Recipe(model=module, training_step=..., optimizer=...) with a step of your own"
)


def recipe_from_lightning(module: Any, data: Any, options: Mapping[str, Any]) -> Recipe:
    """What :meth:`Recipe.from_lightning` returns; its arguments and errors are described there."""
    lightning_of(module)
    refuse_unknown("from_lightning", options, _TRAINER)
    _refuse_own_ways(module)
    fields = {key: value for key, value in options.items() if key not in _TRAINER}
    accumulate = _alias(options, "accumulate_grad_batches", "accumulate", 1)
    clip = _alias(options, "gradient_clip_val", "max_grad_norm", None)
    trainer = bystander(module, dict(options))
    source = _prepared(module, data, trainer)
    train_data = _loader(module, source, "train_dataloader")
    if train_data is None:
        raise RecipeError(
            "no training data: give from_lightning(module, datamodule), a DataLoader in its place, "
            "or a module with train_dataloader()"
        )
    trainer.loader, trainer.batches = train_data, _length(train_data)
    if isfinite(trainer.batches):
        trainer.steps_per_epoch = max(1, ceil(trainer.batches / accumulate))
    with quiet():
        found = configured(module)
    trainer.optimizers, trainer.schedulers = [found.optimizer], found.given
    step = Step(module, source, trainer)
    found.optimizer.register_step_pre_hook(step.before_update)
    found.optimizer.register_step_post_hook(step.after_update)
    fields.setdefault("val_data", _loader(module, source, "val_dataloader"))
    return Recipe(
        **fields
        | {
            "model": module,
            "train_data": train_data,
            "training_step": step,
            "optimizer": found.optimizer,
            "scheduler": list(found.schedulers) or None,
            "scheduler_interval": found.interval,
            "accumulate": accumulate,
            "max_grad_norm": clip or None,
            "precision": _precision(options.get("precision", "fp32")),
        }
    )


class Step:
    """One training step of a LightningModule: ``step(module, batch)`` gives its loss.

    Called as its Trainer does, with the hooks around it that change batches or state.
    """

    def __init__(self, module: Any, source: Any, trainer: Any) -> None:
        self._trainer = trainer
        self._module = module
        self._loggers = [part for part in module.modules() if hasattr(part, "log_dict")]
        parameters = inspect.signature(module.training_step).parameters
        if "dataloader_iter" in parameters:
            raise RecipeError(f"training_step(dataloader_iter) reads its own data: {_BY_HAND}")
        self._takes_index = "batch_idx" in parameters or len(parameters) > 1
        self._transfers = [
            getattr(owner, hook)
            for hook in ("on_before_batch_transfer", "on_after_batch_transfer")
            for owner in ((source if overrides(source, hook) else module),)
            if overrides(owner, hook)
        ]
        self._begun = False
        self._last: tuple[Any, Any, int] | None = None

    def __call__(self, module: Any, batch: Any) -> Any:
        """The loss of one batch, with its graph."""
        with unlogged(self._loggers):
            self._begin()
            for transfer in self._transfers:
                batch = transfer(batch, 0)
            index = self._index()
            module.on_train_batch_start(batch, index)
            given = module.training_step(*((batch, index) if self._takes_index else (batch,)))
        if not isinstance(given, Mapping):
            self._last = ({"loss": given}, batch, index)
            return given
        if "loss" not in given:
            raise RecipeError(
                f'training_step returned a dict of {sorted(map(str, given))} without "loss"'
            )
        self._last = (given, batch, index)
        return given["loss"]

    def before_update(self, optimizer: Any, *_: Any) -> None:
        """Just before the optimizer steps."""
        with unlogged(self._loggers):
            self._module.on_before_optimizer_step(optimizer)

    def after_update(self, *_: Any) -> None:
        """Just after: here live moving averages of weights and the like."""
        if self._last is not None:
            with unlogged(self._loggers):
                self._module.on_train_batch_end(*self._last)
        self._last = None
        self._trainer.taken += 1

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._module.on_fit_start()
            self._module.on_train_start()
            self._module.on_train_epoch_start()

    def _index(self) -> int:
        trainer = self._trainer
        return int(trainer.taken % trainer.steps_per_epoch)


class Batches:
    """The batches of a CombinedLoader, which gives each with its numbers."""

    def __init__(self, combined: Any) -> None:
        self._combined = combined

    def __iter__(self) -> Iterator[Any]:
        for batch, *_ in self._combined:
            yield batch

    def __len__(self) -> int:
        iter(self._combined)  # its length is known only then
        return len(self._combined)


def _refuse_own_ways(module: Any) -> None:
    if not module.automatic_optimization:
        raise RecipeError(
            f"{type(module).__name__} optimizes manually (automatic_optimization=False), which "
            f"from_lightning does not support: {_BY_HAND}"
        )
    own = [hook for hook in _STEER if overrides(module, hook)]
    if own:
        raise RecipeError(
            f"{type(module).__name__} overrides {', '.join(own)}, which only its own Trainer follows: "
            f"{_BY_HAND}"
        )


def _prepared(module: Any, data: Any, trainer: Any) -> Any:
    """The data's source after its set-up, in the order of a Trainer."""
    has_hooks = hasattr(data, "train_dataloader")
    source = data if has_hooks else module
    trainer.datamodule = data if has_hooks else None
    with quiet():
        for owner in dict.fromkeys((source, module)):
            if has_hooks and owner is data:
                data.trainer = trainer
            owner.prepare_data()
        for owner in dict.fromkeys((source, module)):
            owner.setup("fit")
        if hasattr(module, "configure_model"):
            module.configure_model()
    return source if has_hooks or data is None else _Given(data)


@dataclass(frozen=True)
class _Given:
    """A loader that was given in the place of a data module."""

    loader: Any


def _loader(module: Any, source: Any, hook: str) -> Any:
    """What the first owner that has the hook gives; several loaders as one."""
    if isinstance(source, _Given) and hook == "train_dataloader":
        return source.loader
    owner = next((owner for owner in (source, module) if overrides(owner, hook)), None)
    loaders = None if owner is None else getattr(owner, hook)()
    if not isinstance(loaders, (list, tuple, dict)):
        return loaders
    if not loaders:
        return None
    combined = import_module(f"{lightning_of(module).__name__}.utilities.combined_loader")
    mode = "max_size_cycle" if hook == "train_dataloader" else "sequential"
    return Batches(combined.CombinedLoader(loaders, mode))


def _length(loader: Any) -> float:
    try:
        return len(loader)
    except TypeError:
        return inf


def _alias(options: Mapping[str, Any], theirs: str, ours: str, default: Any) -> Any:
    if theirs in options and ours in options:
        raise RecipeError(f"{theirs}= and {ours}= are the same: give one of them")
    return options.get(theirs, options.get(ours, default))


def _precision(given: Any) -> str:
    if str(given) not in _PRECISIONS:
        raise RecipeError(f"precision={given!r} is unknown (valid: {', '.join(_PRECISIONS)})")
    return _PRECISIONS[str(given)]
