"""The objects that live: those that a loop can reach, and all that somebody holds. None is kept here."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Collection, Iterator
from pathlib import Path
from types import (
    BuiltinFunctionType,
    CodeType,
    FrameType,
    FunctionType,
    GetSetDescriptorType,
    MethodDescriptorType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any
from weakref import ReferenceType

from pytest_dlcheck.run.frames import variables

NEAR = 20_000
"""Objects (count) around a loop that are looked at: a few milliseconds."""
TOGETHER = 1 << 12
"""Objects (count) that are asked at once for what they refer to."""
_CODE = frozenset(
    {
        *(CodeType, FunctionType, BuiltinFunctionType, ModuleType, property, ReferenceType),
        *(GetSetDescriptorType, MethodDescriptorType, WrapperDescriptorType),
    }
)
"""What holds nothing that other objects do not hold too: a function's variables are in cells."""
_OWN = "pytest_dlcheck."
_HERE = str(Path(__file__).resolve().parents[1])
_HOLD = frozenset({list, tuple, dict, set, frozenset, deque})


def near(frame: FrameType | None, frames: int) -> Iterator[Any]:
    """What the variables of a function and of its callers lead to, nearest first.

    Args:
        frame: of the function.
        frames: how many calls, itself included.
    """
    waiting: deque[Any] = deque()
    for _ in range(frames):
        if frame is None:
            break
        waiting.extend(variables(frame).values())
        frame = frame.f_back
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


def held(frame: FrameType | None, wanted: Collection[type]) -> Iterator[Any]:
    """What variables of this function and its callers stand for, and all that any object refers to.

    Not what only the watch itself holds.

    Args:
        frame: of the function.
        wanted: the types of what is asked for.
    """
    while frame is not None:
        if not frame.f_code.co_filename.startswith(_HERE):
            yield from _among(list(variables(frame).values()), wanted)
        frame = frame.f_back
    holders = _holders()
    for begin in range(0, len(holders), TOGETHER):
        yield from _among(gc.get_referents(*holders[begin : begin + TOGETHER]), wanted)


def _among(things: list[Any], wanted: Collection[type]) -> Iterator[Any]:
    """Those of the types that are wanted, also in containers that the collector leaves out.

    It leaves out tuples and dictionaries that hold nothing which it keeps account of.
    """
    for thing in things:
        kind = type(thing)
        if kind in wanted:
            yield thing
        if (kind is tuple or kind is dict) and not gc.is_tracked(thing):
            yield from _among(gc.get_referents(thing), wanted)


def _holders() -> list[Any]:
    """All objects that may hold anything of the loop's: neither the watch's own, nor its code."""
    everything = gc.get_objects()
    kinds = {kind: kind in _CODE or issubclass(kind, type) for kind in set(map(type, everything))}
    own = _own_holders(everything)
    own.add(id(everything))
    return [thing for thing in everything if not kinds[type(thing)] and id(thing) not in own]


def _own_holders(everything: list[Any]) -> set[int]:
    """The watch's own objects, and the containers that they lead to."""
    kinds = {kind for kind in set(map(type, everything)) if _is_of_the_watch(kind)}
    waiting = [thing for thing in everything if type(thing) in kinds]
    found = set(map(id, waiting))
    while waiting:
        for inner in gc.get_referents(waiting.pop()):
            if type(inner) in _HOLD and id(inner) not in found:
                found.add(id(inner))
                waiting.append(inner)
    return found


def _is_of_the_watch(kind: type) -> bool:
    return str(getattr(kind, "__module__", "")).startswith(_OWN)
