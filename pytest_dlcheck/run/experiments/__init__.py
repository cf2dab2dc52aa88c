"""Experiments: what is found out by perturbing the model, one question per file, found by walking."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from pytest_dlcheck.run.experiment import Experiment


@cache
def all_experiments() -> tuple[type[Experiment], ...]:
    """Every experiment in this folder, in the order of their files."""
    return tuple(
        value
        for info in pkgutil.iter_modules(__path__, f"{__name__}.")
        for value in vars(import_module(info.name)).values()
        if isinstance(value, type) and issubclass(value, Experiment) and value.__module__ == info.name
    )
