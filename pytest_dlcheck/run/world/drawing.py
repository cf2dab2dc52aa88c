"""Whether a call draws random numbers, so that what draws none needs no seeding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytest_dlcheck.run.world.seeding import random_states, same_draws


def told_to_draw(call: Callable[[], Any], seed: int) -> tuple[Any, bool]:
    """What a call returns, after seeding, and whether it drew random numbers anywhere.

    Args:
        call: is made once; the stream outside goes on as if nothing was drawn.
        seed: for its draws.
    """
    with same_draws(seed):
        before = random_states()
        result = call()
        return result, random_states() != before
