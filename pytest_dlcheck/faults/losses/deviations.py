"""Posteriors that are drawn otherwise than their divergence has them, told as faults."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_dlcheck.faults.losses.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure

_ROOT = 0.5
"""The power of a variance that is its standard deviation."""


def of_deviations(row: Row) -> Iterator[Fault]:
    """A variance where the standard deviation is meant, or the like.

    Args:
        row: what was read of the drawing and of the divergence.
    """
    if row.text("part") != "terms" or row.text("kind") != "deviation":
        return
    power = row.number("power")
    raised = "" if power == 1 else f", to the power of {power:g}"
    cause = (
        "the reparametrisation takes exp(logvar) for the standard deviation"
        if power == 1
        else "the reparametrisation and the KL term do not mean the same by their logvar"
    )
    yield Fault(
        "loss",
        f"noise is multiplied by what the KL term has for the variance{raised}, not by its root",
        f"{cause}: the posterior that is sampled is not the one that the KL term measures",
        "draw with std = exp(0.5 * logvar), where the KL term has exp(logvar) for the variance",
        Measure("power of the variance that noise is multiplied by", power, "ratio", _ROOT, "="),
    )
