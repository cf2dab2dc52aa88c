"""Puts a function in another's place for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

_Function: TypeAlias = Callable[..., Any]
_BENEATH: MutableMapping[_Function, dict[tuple[int, str], _Function]] = WeakKeyDictionary()
"""Of functions whose time ended while others lay over them: what was in each place before."""


@contextmanager
def replaced(place: Any, name: str, function: _Function) -> Iterator[None]:
    """Inside, ``place.name`` is ``function``; afterwards it is as before, unless someone changed it.

    Several may lie over each other, and end in any order: when the last of them does, all are gone.

    Args:
        place: a module or a class.
        name: its attribute.
        function: what to put there; it calls the original.
    """
    original, where = getattr(place, name), (id(place), name)
    setattr(place, name, function)
    try:
        yield
    finally:
        if getattr(place, name) is function:
            setattr(place, name, _living(original, where))
        else:
            _BENEATH.setdefault(function, {})[where] = original


def _living(function: _Function, where: tuple[int, str]) -> _Function:
    """The first function whose time has not ended, from this one downwards."""
    while (beneath := _of(function).pop(where, None)) is not None:
        function = beneath
    return function


def _of(function: _Function) -> dict[tuple[int, str], _Function]:
    """Empty of what cannot be referred to weakly, such as numpy's methods: none of these is ours."""
    try:
        return _BENEATH.get(function, {})
    except TypeError:
        return {}
