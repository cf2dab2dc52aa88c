"""A Trainer that trains nothing: what a module asks of ``self.trainer`` beside a loop of ours."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from math import inf, isfinite
from types import SimpleNamespace
from typing import Any

from pytest_dlcheck.recipe import RecipeError

_ROOTS = {"lightning": "lightning.pytorch", "pytorch_lightning": "pytorch_lightning"}
"""The two packages that Lightning comes as; their classes do not mix."""
_TAKEN = ("max_epochs", "max_steps", "gradient_clip_val")
EPOCHS = 1
"""Where the user gives neither epochs nor steps: a schedule is then stretched over one epoch."""


def lightning_of(module: Any) -> Any:
    """The Lightning package that the module's class is derived from.

    Raises:
        RecipeError: the module is no LightningModule.
    """
    for kind in type(module).__mro__:
        root = kind.__module__.partition(".")[0]
        if kind.__name__ == "LightningModule" and root in _ROOTS:
            return import_module(_ROOTS[root])
    name = f"the class {module.__name__}" if isinstance(module, type) else type(module).__name__
    raise RecipeError(f"from_lightning takes a LightningModule, not {name}: is it an instance of one?")


def bystander(module: Any, options: dict[str, Any]) -> Any:
    """A Trainer for the module to ask, on Lightning's public interface alone.

    It counts the steps of whoever trains (``taken``), knows the length of the training, and logs
    nothing: with ``barebones``, Lightning's own ``self.log`` warns and returns.

    Args:
        module: a LightningModule; the Trainer is attached to it.
        options: ``max_epochs``, ``max_steps`` as a Trainer takes them.
    """
    lightning = lightning_of(module)
    given = {key: value for key, value in options.items() if key in _TAKEN and value is not None}
    if not {"max_epochs", "max_steps"} & set(given):
        given["max_epochs"] = EPOCHS
    with quiet():
        trainer = _kind(lightning.Trainer)(barebones=True, accelerator="cpu", devices=1, **given)
    dummy = import_module(f"{lightning.__name__}.loggers.logger").DummyLogger
    trainer.loggers = [dummy()]
    trainer.training = True
    module.trainer = trainer
    return trainer


@contextmanager
def quiet() -> Iterator[None]:
    """Without what Lightning says about a Trainer that was never asked for."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "pytorch_lightning")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*You are trying to `self\.log\(\)`")
            warnings.filterwarnings("ignore", message=r".*Trainer\(barebones=True\)")
            warnings.filterwarnings("ignore", message=r"(?s).*available but not used")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def unlogged(modules: Iterable[Any]) -> Iterator[None]:
    """With ``self.log`` silent: no Trainer collects, and to say so at every step would cost time.

    Args:
        modules: the LightningModules that may log; each is as before afterwards.
    """
    modules = [module for module in modules if "log" not in vars(module)]
    for module in modules:
        module.log = _silent
    try:
        yield
    finally:
        for module in modules:
            del module.log


def _silent(*_: Any, **__: Any) -> None:
    """In the place of ``LightningModule.log``."""


def _kind(base: Any) -> Any:
    """The class; its base is known only once the user's module has been seen."""

    class Bystander(base):  # type: ignore[misc]  # it is lightning's or pytorch_lightning's Trainer
        taken = 0
        batches: float = inf
        steps_per_epoch: float = inf
        loader: Any = None
        schedulers: Any = ()

        @property
        def global_step(self) -> int:
            return self.taken

        @property
        def current_epoch(self) -> int:
            return int(self.taken // self.steps_per_epoch)

        @property
        def num_training_batches(self) -> float:
            return self.batches

        @property
        def estimated_stepping_batches(self) -> float:
            if self.max_steps > 0:
                return int(self.max_steps)
            total = self.max_epochs * self.steps_per_epoch
            return int(total) if isfinite(total) else total

        @property
        def train_dataloader(self) -> Any:
            return self.loader

        @property
        def lr_scheduler_configs(self) -> list[Any]:
            return [SimpleNamespace(scheduler=scheduler) for scheduler in self.schedulers]

    return Bystander
