"""How far a learning rate schedule reaches, as the scheduler says. Nothing is stepped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HORIZONS = ("total_steps", "T_max", "T_0", "step_size", "total_iters")
"""What schedulers call the length of the whole, or of their first part."""
PLANNED = "num_training_steps"
"""What the transformers' schedules, which are functions bound with functools.partial, call theirs."""


def horizon_of(scheduler: Any) -> int | None:
    """How many steps it is made for, or its first part; None where it does not say."""
    for name in HORIZONS:
        value = getattr(scheduler, name, None)
        if type(value) is int:
            return value
    parts, ends = getattr(scheduler, "_schedulers", None), getattr(scheduler, "_milestones", None)
    if parts and ends:
        last = horizon_of(parts[-1])
        return None if last is None else int(ends[-1]) + last
    for rule in getattr(scheduler, "lr_lambdas", None) or ():
        bound = getattr(rule, "keywords", None)
        if isinstance(bound, Mapping) and type(bound.get(PLANNED)) is int:
            return int(bound[PLANNED])
    milestones = getattr(scheduler, "milestones", None)
    return int(max(milestones)) if type(scheduler).__name__ == "MultiStepLR" and milestones else None
