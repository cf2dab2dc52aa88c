"""Whether the loop calls a model an average: by the variable, or the attribute, that holds it."""

from __future__ import annotations

from torch import nn

from pytest_dlcheck.run.code.frames import named, words_of
from pytest_dlcheck.run.code.lines import frame_of_the_loop

FRAMES = 6
"""Functions around the call whose variables are looked at: a helper in a trainer is three."""
_AVERAGES = frozenset({"ema", "avg", "average", "averaged", "swa", "polyak", "smoothed"})


def is_called_average(model: nn.Module) -> bool:
    """Whether a function around this call has the model under such a name, itself or in an object."""
    held = (name for name, value in named(frame_of_the_loop(), FRAMES) if value is model)
    return any(not _AVERAGES.isdisjoint(words_of(name)) for name in held)
