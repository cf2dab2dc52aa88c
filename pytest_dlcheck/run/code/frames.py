"""The variables of a function that runs, read without keeping what they hold alive."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from functools import lru_cache
from types import FrameType, ModuleType
from typing import Any

_OURS = 3
"""References to a snapshot that nobody else holds: the frame's, a name's here, and an argument's."""

ITEMS = 64
"""Items of a dictionary, or attributes of an object (count), up to which they are looked at."""


def variables(frame: FrameType) -> dict[str, Any]:
    """What a frame's names stand for now.

    Up to Python 3.12 a function's frame keeps the snapshot that is made for whoever asks, and with it
    all that it holds, until the call ends. It is emptied again, unless somebody else has it too, as from
    ``locals()``, or a debugger is at work, which writes back what it finds there.

    Args:
        frame: of a function, a class or a module.
    """
    snapshot = frame.f_locals
    found = dict(snapshot)
    is_copy = bool(frame.f_code.co_flags & inspect.CO_OPTIMIZED) and isinstance(snapshot, dict)
    if is_copy and sys.gettrace() is None and sys.getrefcount(snapshot) <= _OURS:
        snapshot.clear()
    return found


def attributes(value: object) -> dict[Any, Any]:
    """What an object keeps by name, without asking it; nothing of classes and modules."""
    if issubclass(type(value), (type, ModuleType)):
        return {}
    try:
        return dict(object.__getattribute__(value, "__dict__"))
    except AttributeError:
        return {}


def callers(frame: FrameType | None, most: int) -> Iterator[FrameType]:
    """A frame, and those that called it, the innermost first.

    Args:
        frame: of the function; nothing where there is none.
        most: how many, itself included.
    """
    for _ in range(most):
        if frame is None:
            return
        yield frame
        frame = frame.f_back


def named(frame: FrameType | None, most: int) -> Iterator[tuple[str, Any]]:
    """The variables of functions, the items of dictionaries, and the attributes of objects in them.

    Of large dictionaries none: their keys are data, such as words or the names of files.

    Args:
        frame: of the innermost function.
        most: how many functions, it and its callers.
    """
    for caller in callers(frame, most):
        for name, value in variables(caller).items():
            yield name, value
            inner = value if type(value) is dict else attributes(value)
            if len(inner) <= ITEMS:
                yield from ((key, each) for key, each in inner.items() if isinstance(key, str))


@lru_cache(maxsize=1024)
def words_of(name: str) -> frozenset[str]:
    """The words of a variable's name: ``mean`` and ``loss`` of ``_mean_loss``, and of ``meanLoss``."""
    return frozenset(apart(name).strip("_").split("_"))


def apart(name: str) -> str:
    """A name in small letters, its words set apart by underscores alone."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
