"""The objects that a loop's variables lead to. None is kept here."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Iterator
from types import FrameType, ModuleType
from typing import Any

from pytest_dlcheck.run.code.frames import callers, variables

NEAR = 20_000
"""Objects (count) around a loop that are looked at: a few milliseconds."""
_OWN = "pytest_dlcheck."


def near(frame: FrameType | None, frames: int) -> Iterator[Any]:
    """What the variables of a function and of its callers lead to, nearest first.

    Args:
        frame: of the function.
        frames: how many calls, itself included.
    """
    waiting: deque[Any] = deque()
    for each in callers(frame, frames):
        waiting.extend(variables(each).values())
    seen: set[int] = set()
    while waiting and len(seen) < NEAR:
        thing = waiting.popleft()
        if id(thing) in seen or _is_remote(thing):
            continue
        seen.add(id(thing))
        yield thing
        waiting.extend(gc.get_referents(thing))


def _is_remote(thing: object) -> bool:
    """What leads everywhere."""
    kind = type(thing)
    return issubclass(kind, (type, ModuleType, FrameType)) or _is_of_the_watch(kind)


def _is_of_the_watch(kind: type) -> bool:
    return str(getattr(kind, "__module__", "")).startswith(_OWN)
