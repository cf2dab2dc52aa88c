"""What is found of trainings that are stable, to be spoilt by examples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pytest_dlcheck.trace import Ending, Matrix, Row, Series
from pytest_dlcheck.trial import Trial

FALL = tuple(2.3 * 0.98**i for i in range(100))
"""A smooth fall."""
SPIKE = (*FALL[:40], *(50.0,) * 4, *FALL[44:])
"""The same with a spike that recovers."""
RISE = (2.3, *(400.0,) * 99)
"""An explosion."""
FROM_ZERO = tuple(0.3 * math.sin(i / 12) + 1e-3 * i for i in range(100))
"""What drifts to both sides of zero, as the loss of a temperature does."""
ENERGIES = tuple(-5 / (1 + math.exp((100 - i) / 15)) for i in range(400))
"""Ever faster below zero, down to a floor."""
ENDLESS = tuple(2.3 - 1e-4 * i**3 for i in range(400))
"""The same without one."""
NO_FLOOR = Row(has_floor=False)
"""Outputs were found that lower the loss without an end."""
BREAK = (*(2.3,) * 7, *(math.nan,) * 3)
"""Numbers that break."""
NAN = Ending("diverged", 7, "the loss became nan")
LOG = Row(kind="forward", step=7, site="head.log", value="nan", input_peak=3.0)
"""The first place that turned finite numbers into others."""


def trained(
    losses: Sequence[float], ending: Ending | None = None, ratio: float = 1e-3
) -> dict[str, Any]:
    """A training with these losses, each of whose steps moves the weights by a ratio of their size."""
    return {
        "trial": Trial("train", len(losses), 0, "cpu"),
        "loss": Series(tuple(range(len(losses))), tuple(losses)),
        "steps": Row(asked=len(losses), skipped_by_scaler=0),
        "update_norm": Matrix((0, 50), ("weight",), ((ratio,), (ratio,))),
        "parameter_norm": Matrix((0, 50), ("weight",), ((1.0,), (1.0,))),
        "ending": ending or Ending(),
    }
