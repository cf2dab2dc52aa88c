"""Clipping that leaves too little, or comes at the wrong place. Thresholds are the check's own."""

from __future__ import annotations

import math
from statistics import median

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.faults.readings import Fall, update_ratio
from pytest_dlcheck.trace import Matrix, Row, Trace
from pytest_dlcheck.verdict import Measure, Suspect

PLACES = {
    "clips_before_backward": (
        "before any backward: there is nothing to clip",
        "clip after backward",
    ),
    "clips_scaled": (
        "before the gradients are unscaled: they are still multiplied by the GradScaler's scale",
        "call scaler.unscale_(optimizer) first",
    ),
}
"""Counts of clippings at the wrong place: when that is, and what to do."""

_AS_SET = 0.5
"""Share of the largest rate (ratio) from which on the first one is no warm-up's."""
_BY_MOMENTUM = frozenset({"SGD"})
_NORMALISED = frozenset({"Adam", "AdamW", "NAdam", "RAdam", "Adamax"})
"""Optimizers that divide by the gradient's size, and by ``eps`` where that is larger."""


def moved(trace: Trace) -> float:
    """How far a step moves the weights (ratio of their size), without what weight decay does under SGD.

    SGD's decay moves weights whose gradients are clipped to nothing: by the learning rate times
    ``weight_decay``, a usual size of a step.
    """
    seen = update_ratio(trace)
    weights, rate = (
        _size(trace.matrix("parameter_norm")),
        max(trace.series("learning_rate"), default=0.0),
    )
    if trace.row("recipe").text("optimizer") not in _BY_MOMENTUM or not weights:
        return seen
    momentum = max(
        (_known(row.number("momentum")) for row in trace.rows("optimizer_groups")), default=0.0
    )
    by_gradients = rate * _size(trace.matrix("gradient_norm")) / max(1 - momentum, 1e-3) / weights
    return min(seen, by_gradients)


def stands_still(trace: Trace, ratio: float, way: float, level: float) -> bool:
    """Whether gradients, which set the size of each step, have led nowhere at a rate as it was set.

    Args:
        trace: of the training.
        ratio: how far they move the weights in a step (ratio of their size).
        way: how far all steps may have led at most (ratio of the same).
        level: share of the loss by which its trend may change.
    """
    rates, fall = trace.series("learning_rate").values, Fall.of(trace)
    recipe = trace.row("recipe")
    if recipe.text("optimizer") not in _BY_MOMENTUM or recipe.flag("several_objectives") or fall is None:
        return False
    warms_up = not rates or rates[0] < max(rates) * _AS_SET
    is_level = -level < fall.stream.low and fall.stream.high < level
    return is_level and not warms_up and ratio * len(trace.series("loss")) <= way


def step_left(trace: Trace) -> float:
    """The share of Adam's step that ``eps`` leaves of gradients of this size (ratio); 1 for others."""
    count = sum(
        _known(row.number("numel")) for row in trace.rows("coverage") if row.integer("optimizers")
    )
    eps = max((_known(row.number("eps")) for row in trace.rows("optimizer_groups")), default=0.0)
    if trace.row("recipe").text("optimizer") not in _NORMALISED or not count:
        return 1.0
    each = _size(trace.matrix("gradient_norm")) / math.sqrt(count)
    return each / (each + eps) if each + eps else 1.0


def to_nothing(story: str, measure: Measure, loop: Row) -> Fault:
    """Clipping that leaves next to nothing; measured is the factor that is usual."""
    by_value = "clips_of_values" in loop and 2 * loop.integer("clips_of_values") > loop.integer("clips")
    function, bound = ("clip_grad_value_", "clip_value") if by_value else ("clip_grad_norm_", "max_norm")
    of = "the gradients themselves" if by_value else "the gradients' norm"
    return Fault(
        story,
        measures=(measure,),
        suspects=[
            Suspect("optimizer", f"its gradients are clipped to {measure.value:.2g} of their size")
        ],
        cause=f"the bound of {function}, {bound}, is far below {of}",
        remedy=f"raise {bound} to about the usual {'size' if by_value else 'norm'} of the gradient",
    )


def has_nothing_to_clip(row: Row) -> bool:
    """Whether no backward reaches a parameter: wherever clipping stands, there is nothing to clip.

    Args:
        row: how the loop went.
    """
    looked = row.integer("graphs")
    rootless = row.integer("graphs_without_parameters") >= looked > 0
    return rootless or row.integer("backwards", 1) == 0


def out_of_place(key: str, count: int, clips: int, few: int) -> Fault:
    """Clippings that come too early."""
    when, remedy = PLACES[key]
    return Fault(
        f"{count} of {clips} clippings come {when.partition(':')[0]} (at most {few} may)",
        measures=(Measure("clippings out of place", count, "count", few),),
        suspects=[Suspect("optimizer", f"its gradients are clipped {when.partition(':')[0]}")],
        cause=f"gradients are clipped {when}",
        remedy=remedy,
    )


def _size(norms: Matrix) -> float:
    """The norm over all parameters, in the median of the steps where it is known; 0 where it is not."""
    sizes = [math.hypot(*(v for v in row if v is not None and math.isfinite(v))) for row in norms.values]
    return median(sizes) if sizes else 0.0


def _known(value: float) -> float:
    return value if math.isfinite(value) else 0.0
