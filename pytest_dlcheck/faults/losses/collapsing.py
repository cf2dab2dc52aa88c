"""Losses that are least where the model says the same of all samples, told as faults."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_dlcheck.faults.losses.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure

_TWO = 2
_DEAR = 10.0
"""What information costs in a loss over the most it can earn (ratio) from which no posterior keeps any.
From 1 on none is worth its price where targets are Gaussian; the rest is room for rare large values,
that are told by few nats; chosen."""


def of_collapsing(row: Row) -> Iterator[Fault]:
    """A loss of pairs that never pushes apart, and a divergence that outweighs a reconstruction.

    Args:
        row: what was asked of pairs, or read of two terms.
    """
    if row.text("part") == "pairs":
        yield from _of_pairs(row)
    if row.text("part") == "terms" and row.number("cost") >= _DEAR:
        yield _outweighed(row)


def _of_pairs(row: Row) -> Iterator[Fault]:
    may_weigh = row.flag("proportional") or row.integer("rises") < _TWO
    if may_weigh or row.integer("falls"):
        return
    text = (
        f"no pair is ever pushed apart by the loss: for targets {row.text('values')} alike it never "
        f"falls as two outputs move from one point to a distance of {row.number('farthest'):g}"
    )
    yield Fault(
        "loss",
        text,
        "one constant output for all samples minimises it: embeddings collapse; is the hinge of the "
        "margin the wrong way round?",
        "write relu(margin - distance) for pairs that differ, not relu(distance - margin)",
        Measure("targets for which distance is ever rewarded", 0, "count", 1, ">="),
    )


def _outweighed(row: Row) -> Fault:
    samples, latents, cost = row.integer("samples"), row.integer("latents"), row.number("cost")
    text = (
        f"the KL term is summed over {samples} samples and {latents} latent numbers while the "
        f"reconstruction is averaged over {row.integer('numbers'):,} numbers"
    )
    return Fault(
        "loss",
        text,
        "the posterior collapses: what latent numbers say of a sample costs more than the "
        "reconstruction can fall by it, so that they will say nothing",
        "reduce both alike: sum both over numbers and average over samples, or weigh the KL term",
        Measure("price of a nat over the most it earns", cost, "ratio", _DEAR, "<"),
    )
