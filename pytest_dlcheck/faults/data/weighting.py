"""Samples that a sampler's weights never let be drawn, told in words. Thresholds: written beside."""

from __future__ import annotations

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect

FEW = 0.1
"""Weights over samples (ratio) below which they are no part that is trained on while the rest is held
out; chosen: few splits train on less than a tenth, and classes have dozens of samples."""
_REMEDY = "give it a weight per sample: class_weights[labels], as long as the data set"


def weighs_classes(row: Row) -> Fault | None:
    """Weights that differ, and are far fewer than the samples: there is one for each class."""
    weights, samples = row.integer("weights"), row.integer("weighted_samples")
    if not row.flag("uneven") or weights >= FEW * samples:
        return None
    sampler, never = row.text("weighted_by"), samples - row.integer("weighted")
    return Fault(
        f"{sampler} has {weights} weights for {samples:,} samples ({samples:,} expected): {never:,} of "
        "them can never be drawn",
        (Measure("weights of the sampler", weights, "count", samples, ">="),),
        [Suspect("data", f"only its first {weights} samples are drawn, over and over", _REMEDY)],
        cause=f"{sampler} wants a weight for each sample and is given far fewer, as one for each class",
        remedy=_REMEDY,
    )


def never_drawn(row: Row) -> str:
    """Advice on weights that leave out most samples, or the last ones; empty where they do not."""
    weights, samples = row.integer("weights"), row.integer("weighted_samples")
    drawn = row.integer("weighted")
    if not samples or (weights >= samples and drawn >= FEW * samples):
        return ""
    return (
        f"{row.text('weighted_by')} has {weights:,} weights, {drawn:,} of them above zero, for "
        f"{samples:,} samples: {samples - drawn:,} can never be drawn; is that meant?"
    )
