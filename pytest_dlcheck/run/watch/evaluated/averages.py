"""Whether the loop calls a model an average: by what holds it, a variable, an attribute or an object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from pytest_dlcheck.run.code.frames import attributes, callers, variables, words_of
from pytest_dlcheck.run.code.lines import frame_of_the_loop

FRAMES = 6
"""Functions around the call whose variables are looked at: a helper in a trainer is three."""
DEPTH = 2
"""Objects within objects that are looked into."""
_AVERAGES = frozenset({"ema", "avg", "average", "averaged", "swa", "polyak", "smoothed"})


def is_called_average(model: nn.Module) -> bool:
    """Whether a function around this call has the model under such a name, itself or in an object."""
    return any(not _AVERAGES.isdisjoint(words_of(name)) for name in _names(model))


def _names(model: nn.Module) -> Iterator[str]:
    """What holds it is called: ``ema_model``, or ``shadow`` of an object ``ema`` of a trainer."""
    for caller in callers(frame_of_the_loop(), FRAMES):
        yield from _within(variables(caller), model, DEPTH)


def _within(held: Mapping[Any, Any], model: nn.Module, depth: int) -> Iterator[str]:
    for name, value in held.items():
        if not isinstance(name, str):
            continue
        if value is model:
            yield name
        elif depth and not isinstance(value, nn.Module):
            inner = value if type(value) is dict else attributes(value)
            if names := list(_within(inner, model, depth - 1)):
                yield from (name, *names)
