"""What is found of frozen parts, to be spoilt by examples."""

from __future__ import annotations

from pytest_dlcheck.trace import Row

STATISTICS = Row(name="bn.running_mean", module="BatchNorm2d", owner_training=False, owner_frozen=True)
"""A buffer of a frozen normalisation."""
_DISTANCES = {"from_before": 0.1, "from_now": 0.9, "best_from_before": 0.1, "best_from_now": 0.9}
OLD_HEAD = Row(name="head", norm="body.1", steps=40, samples=16, averaged=19.0, **_DISTANCES)
"""A head of an earlier training that is evaluated behind statistics that have moved."""


def parameter(name: str, *, trains: bool, changed: bool = False, declared: bool = True) -> Row:
    """The row of one parameter."""
    return Row(name=name, requires_grad=trains, declared_frozen=declared, optimizers=1, changed=changed)
