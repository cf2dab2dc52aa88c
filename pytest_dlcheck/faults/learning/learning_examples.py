"""What is found of trainings that learn from their inputs, to be spoilt by examples."""

from __future__ import annotations

from typing import Any

from pytest_dlcheck.trace import Row, Series

_LOSS = Series(tuple(range(100)), tuple(2.3 - 0.002 * i for i in range(100)))
_RELATION = Row(agreement=0.1, by_chance=0.1, labels=True, samples=999, structure=30.0, spread=1.0)
OWN_LOOP: dict[str, Any] = {"loss": _LOSS, "pairing": Row(own_loop=True)}
FITTED: dict[str, Any] = {
    "loss": Series(tuple(range(24)), tuple(2.3 * 0.9**i for i in range(24))),
    "steps": Row(loss_floor=0.0, uninformed_loss=2.0, loss_noise=0.0),
}
"""A batch that is learned by heart in 24 steps."""


def stream(gain: float) -> dict[str, Any]:
    """A training whose first epoch has 20 steps, by the gain on each of its batches (nats)."""
    return {
        "loss": _LOSS,
        "pairing_gain": Series(tuple(range(20)), tuple(gain + 0.05 * (-1) ** i for i in range(20))),
        "crossed_loss": Series(tuple(range(20)), (2.3,) * 20),
        "pairing": Row(fresh_steps=20, samples=64, moved=0.9),
    }


def held_out(unseen: float, surprise: float, **more: float) -> dict[str, Any]:
    """A training without some data: the gain on these (nats), and what near inputs have in common."""
    row = Row(data="unseen", samples=300, loss=2.3 - unseen, gain=unseen, gain_error=0.01, points=20)
    relation = Row({**_RELATION, "surprise": surprise, **more})
    return {"loss": _LOSS, "holdout": row, "relation": relation}


def blind(excess: float) -> dict[str, Any]:
    """An own loop with the inputs of other samples, its loss so much higher (ratio)."""
    higher = Series(_LOSS.steps, tuple(loss * (1 + excess) for loss in _LOSS))
    return {"loss": higher, "relation": Row(_RELATION, surprise=0.4)}
