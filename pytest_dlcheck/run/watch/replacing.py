"""Puts a function in another's place for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def replaced(place: Any, name: str, function: Callable[..., Any]) -> Iterator[None]:
    """Inside, ``place.name`` is ``function``; afterwards it is as before, unless someone changed it.

    Args:
        place: a module or a class.
        name: its attribute.
        function: what to put there; it calls the original.
    """
    original = getattr(place, name)
    setattr(place, name, function)
    try:
        yield
    finally:
        if getattr(place, name) is function:
            setattr(place, name, original)
