"""Probes: what is recorded while a trial runs, one group of channels per file, found by walking."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from pytest_dlcheck.run.probe import Probe
from pytest_dlcheck.run.rig import Rig


@cache
def all_probes() -> tuple[type[Probe[Rig]], ...]:
    """Every probe in this folder, in the order of their files."""
    return tuple(
        value
        for info in pkgutil.iter_modules(__path__, f"{__name__}.")
        for value in vars(import_module(info.name)).values()
        if isinstance(value, type)
        and issubclass(value, Probe)
        and value.__module__ == info.name
        and value.channels
    )
