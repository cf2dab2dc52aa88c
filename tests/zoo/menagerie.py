"""Who lives in the zoo: every recipe of this folder's files, found by walking, and its half."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Literal

from pytest_dlcheck import Recipe
from pytest_dlcheck.recipe import recipe_tag

APART = {"measure", "menagerie", "test_zoo", "traces"}
"""Files that hold no recipes, and are not to be imported for them."""


def menagerie() -> dict[str, Callable[[], Recipe]]:
    """Every healthy model's factory, by name."""
    modules = [
        import_module(f"{__package__}.{info.name}")
        for info in pkgutil.iter_modules([str(Path(__file__).parent)])
        if info.name not in APART
    ]
    return {
        name: factory
        for module in modules
        for name, factory in vars(module).items()
        if recipe_tag(factory) and factory.__module__ == module.__name__
    }


def split(name: str) -> Literal["dev", "test"]:
    """``dev`` models may be looked at while thresholds are tuned; ``test`` models are only measured."""
    return "dev" if int.from_bytes(sha256(name.encode()).digest()[:2]) % 2 else "test"


def steps_of(factory: Callable[[], Recipe]) -> int:
    """The steps of its training: what its marker says, or the plugin's own default."""
    marks = getattr(factory, "pytestmark", [])
    return next((mark.kwargs["steps"] for mark in marks if mark.name == "dlcheck"), 100)
