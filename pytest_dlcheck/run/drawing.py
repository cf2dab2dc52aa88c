"""Whether a call draws random numbers, so that what draws none needs no seeding."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from typing import Any

import torch

from pytest_dlcheck.run.seeding import same_draws


def told_to_draw(call: Callable[[], Any], seed: int) -> tuple[Any, bool]:
    """What a call returns, after seeding, and whether it drew random numbers anywhere.

    Args:
        call: is made once; the stream outside goes on as if nothing was drawn.
        seed: for its draws.
    """
    with same_draws(seed):
        before = _states()
        result = call()
        after = _states()
    return result, not all(_equal(a, b) for a, b in zip(before, after, strict=True))


def _states() -> list[Any]:
    states: list[Any] = [torch.get_rng_state(), random.getstate()]
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        states += torch.cuda.get_rng_state_all()
    if "numpy" in sys.modules:
        name, keys, *rest = sys.modules["numpy"].random.get_state()
        states.append((name, keys.tobytes(), *rest))
    return states


def _equal(one: Any, other: Any) -> bool:
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else bool(one == other)
