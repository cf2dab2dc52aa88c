"""Traces of loops that clip, for the check's examples."""

from __future__ import annotations

import math
from typing import Any

from pytest_dlcheck.trace import Matrix, Row, Series
from pytest_dlcheck.trial import Terms

FALL = tuple(2.3 * math.exp(-i / 100) + 0.01 * (-1) ** i for i in range(300))
"""Losses that fall."""
FLAT = tuple(2.3 + 0.01 * (-1) ** i for i in range(300))
"""Losses that do not."""


def seen(factor: float, ratio: float, **found: int) -> dict[str, Any]:
    """Gradients are scaled by this factor, and move weights by this share of their size."""
    return {
        "trial": Terms().watch(),
        "loop": Row(
            {"clips": 50, "clips_looked": 50, "clips_before_backward": 0, "clips_scaled": 0, **found}
        ),
        "clipping": Series((0, 1, 2), (factor, factor, 1.0)),
        "update_norm": Matrix((0, 1), ("w",), ((ratio,), (ratio,))),
        "parameter_norm": Matrix((0, 1), ("w",), ((1.0,), (1.0,))),
    }


def under(
    optimizer: str,
    factor: float,
    ratio: float,
    group: Row,
    gradient: float = 1e-8,
    losses: tuple[float, ...] = (1.0, 0.5),
    first_rate: float = 0.1,
) -> dict[str, Any]:
    """The same with what is known of the optimizer.

    Args:
        optimizer: its name.
        factor: that gradients are scaled by.
        ratio: of updates to weights.
        group: its settings.
        gradient: the norm of gradients once they are clipped.
        losses: of all steps.
        first_rate: at the beginning, of 0.1 later.
    """
    return {
        **seen(factor, ratio),
        "recipe": Row(optimizer=optimizer),
        "optimizer_groups": group,
        "learning_rate": Series((0, 1), (first_rate, 0.1)),
        "loss": Series(tuple(range(len(losses))), losses),
        "gradient_norm": Matrix((0, 1), ("w",), ((gradient,), (gradient,))),
        "coverage": Row(name="w", numel=1000, optimizers=1),
    }
