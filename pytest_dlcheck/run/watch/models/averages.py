"""Whether the loop calls a model an average: by the variable, or the attribute, that holds it."""

from __future__ import annotations

from torch import nn

from pytest_dlcheck.run.frames import attributes, callers, variables, words_of
from pytest_dlcheck.run.watch.models.flows import frame_of_the_loop

FRAMES = 6
"""Functions around the call whose variables are looked at: a helper in a trainer is three."""
_AVERAGES = frozenset({"ema", "avg", "average", "averaged", "swa", "polyak", "smoothed"})


def is_called_average(model: nn.Module) -> bool:
    """Whether a function around this call has the model under such a name, itself or in an object."""
    for caller in callers(frame_of_the_loop(), FRAMES):
        for name, value in variables(caller).items():
            if value is model and _is_average(name):
                return True
            held = value if type(value) is dict else attributes(value)
            if any(each is model and _is_average(str(inner)) for inner, each in held.items()):
                return True
    return False


def _is_average(name: str) -> bool:
    return not _AVERAGES.isdisjoint(words_of(name))
