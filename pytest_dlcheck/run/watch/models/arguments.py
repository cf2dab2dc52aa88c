"""What a module is given for one of its parameters, by its place or by its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def argument(arguments: tuple[Any, ...], named: Mapping[str, Any], place: int, name: str) -> Any:
    """What is given for the parameter at that place, of that name; None for nothing."""
    return arguments[place] if len(arguments) > place else named.get(name)
