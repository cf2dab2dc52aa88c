"""All cases and their twins, found by walking this folder."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from pathlib import Path

from .case import KINDS, Case, Kind


@cache
def all_cases() -> dict[str, Case]:
    """Every case by its name.

    Raises:
        ValueError: two cases have one name.
    """
    names = [info.name for info in pkgutil.iter_modules([str(Path(__file__).parent)])]
    modules = [n for n in sorted(names) if n.startswith("faults_") or n == "not_faults"]
    cases: dict[str, Case] = {}
    for module in modules:
        for case in vars(import_module(f"{__package__}.{module}")).values():
            if isinstance(case, Case) and cases.setdefault(case.name, case) is not case:
                raise ValueError(f"two cases are called {case.name!r}")
    return cases


def kind(case: Case) -> Kind:
    """The architecture and the task of a case's twin."""
    return KINDS[case.healthy.__name__]
