"""Find what breaks a PyTorch training silently, inside pytest.

The public names. All but the recipe's are imported lazily (PEP 562), and importing this package
imports neither torch, numpy nor scipy, so that a test suite without ``--dlcheck`` pays nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pytest_dlcheck.recipe import Recipe, recipe

if TYPE_CHECKING:
    from pytest_dlcheck.at_hand import diagnose
    from pytest_dlcheck.by_hand import Run
    from pytest_dlcheck.check import Check
    from pytest_dlcheck.trace import Ending, Matrix, Row, Series, Trace
    from pytest_dlcheck.trial import Trial
    from pytest_dlcheck.verdict import Measure, Outcome, Suspect, Verdict

_HOME = {
    "Check": "check",
    "Ending": "trace",
    "Matrix": "trace",
    "Measure": "verdict",
    "Outcome": "verdict",
    "Row": "trace",
    "Run": "by_hand",
    "Series": "trace",
    "Suspect": "verdict",
    "Trace": "trace",
    "Trial": "trial",
    "Verdict": "verdict",
    "diagnose": "at_hand",
    "watch": "watching",
}

__all__ = [
    "Check",
    "Ending",
    "Matrix",
    "Measure",
    "Outcome",
    "Recipe",
    "Row",
    "Run",
    "Series",
    "Suspect",
    "Trace",
    "Trial",
    "Verdict",
    "diagnose",
    "recipe",
    "watch",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
