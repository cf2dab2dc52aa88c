"""How large the steps of a training are, beside its weights, rates and loss. No judgement."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import fmean, median

from pytest_dlcheck.trace import Trace

GLANCED = frozenset(
    {
        "learning_rate",
        "loss",
        "fixed_loss",
        "rounding",
        "recipe",
        "optimizer_groups",
        "loop",
        "comparisons",
    }
)
"""What is read here and in the stories told of it, beside gradients, updates and parameters."""
EARLY = 8
"""Recorded steps in which a learning rate that is too high shows itself."""

SCALE_FREE = ("Adam", "Lion", "Rprop", "LBFGS", "Adafactor", "RMSprop", "Adagrad")
"""Optimizers whose steps do not grow with the gradients."""


def warms_up(trace: Trace) -> bool:
    """Whether the learning rate still rises at the end."""
    rates = trace.series("learning_rate")
    return len(rates) > 0 and rates[-1] >= max(rates) and rates[-1] > 1.2 * rates[len(rates) // 2]


def ratios(trace: Trace) -> dict[str, list[float]]:
    """Update over weight where the learning rate is at least a tenth of its peak.

    What AdamW takes off as weight decay is no step towards anything: it is left out.
    """
    decays = {row.text("name"): row.number("weight_decay") for row in trace.rows("parameters")}
    decoupled = trace.row("recipe").text("optimizer") == "AdamW"
    updates, sizes = trace.matrix("update_norm"), trace.matrix("parameter_norm")
    rates = dict(zip(*rates_of(trace), strict=True))
    peak = max(rates.values(), default=0.0)
    found = {}
    for name in weights_of(trace):
        columns = zip(updates.steps, updates.column(name), sizes.column(name), strict=True)
        decay = decays[name] if decoupled and not math.isnan(decays[name]) else 0.0
        ratios = [
            math.sqrt(max(0.0, (u / w) ** 2 - (rate * decay) ** 2))
            for step, u, w in columns
            if u and w and (rate := rates.get(step, peak)) >= 0.1 * peak
        ]
        if ratios:
            found[name] = ratios
    return found


def sizes_of(ratios: Mapping[str, list[float]]) -> tuple[float, float]:
    """The typical update over weight, and the typical largest one among the first steps."""
    typical = median(median(values) for values in ratios.values())
    return typical, median(max(values[:EARLY]) for values in ratios.values())


def quickest_of(ratios: Mapping[str, list[float]]) -> float:
    """The update over weight, the median over its steps, of what moves most."""
    return max(median(values) for values in ratios.values())


def rates_of(trace: Trace) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """The steps at which the learning rate was recorded, and the rates."""
    series = trace.series("learning_rate")
    return series.steps, series.values


def weights_of(trace: Trace) -> list[str]:
    """Matrices and kernels that train and did not begin at zero."""
    return [
        row.text("name")
        for row in trace.rows("parameters")
        if row.flag("requires_grad")
        and row.text("shape").count(", ")
        and not row.flag("zero_at_start")
        and row.text("name") in trace.matrix("update_norm").sites
    ]


def shrinkage(trace: Trace, name: str) -> float | None:
    """A parameter's norm at the end over that at the beginning; None where it is not known."""
    sizes = [size for size in trace.matrix("parameter_norm").column(name) if size is not None]
    return sizes[-1] / sizes[0] if len(sizes) > 1 and sizes[0] else None


def growth(trace: Trace) -> float:
    """The weights' norm at the end over that at the beginning, the median of matrices and kernels."""
    ends = [ratio for name in weights_of(trace) if (ratio := shrinkage(trace, name)) is not None]
    return median(ends) if ends else 1.0


def progress(trace: Trace) -> float | None:
    """The share of the loss on fixed batches that was covered; None where it was not recorded."""
    rows = trace.matrix("fixed_loss").values
    ends = [fmean(value for value in row if value is not None) for row in rows if any(row)]
    return (ends[0] - ends[-1]) / abs(ends[0]) if len(ends) > 1 and ends[0] else None


def falls(trace: Trace, share: float) -> bool:
    """Whether the loss ends below its first value by that share of it."""
    losses = trace.series("loss").values
    if not losses:
        return True
    last = fmean(losses[-max(1, len(losses) // 5) :])
    return losses[0] - last > share * abs(losses[0])


def total_gradient(trace: Trace) -> float:
    """The median norm of all gradients together, before clipping."""
    rows = trace.matrix("gradient_norm").values
    return median(math.hypot(*(g for g in row if g is not None)) for row in rows) if rows else 0.0


def gradient_ratio(trace: Trace) -> float:
    """The gradient's norm over the weight's, the median over matrices, kernels and steps; 0 unknown."""
    gradients, weights = trace.matrix("gradient_norm"), trace.matrix("parameter_norm")
    found = []
    for name in weights_of(trace):
        flows = dict(zip(gradients.steps, gradients.column(name), strict=True))
        sizes = zip(weights.steps, weights.column(name), strict=True)
        found += [g / size for step, size in sizes if size and (g := flows.get(step)) is not None]
    return median(found) if found else 0.0


def adam_share(trace: Trace) -> float | None:
    """How far Adam moves an element, over its learning rate; None where it is another optimizer."""
    rates, updates = dict(zip(*rates_of(trace), strict=True)), trace.matrix("update_norm")
    numels = {r.text("name"): r.integer("numel", 1) for r in trace.rows("parameters")}
    if "Adam" not in trace.row("recipe").text("optimizer"):
        return None
    shares = [
        update / (rate * math.sqrt(numels[name]))
        for name in weights_of(trace)
        for step, update in zip(updates.steps, updates.column(name), strict=True)
        if update and (rate := rates.get(step, 0.0)) > 0
    ]
    return median(shares) if shares else None


def strongest_decay(trace: Trace) -> float:
    """The largest weight decay that a trainable parameter is under."""
    rows = [r for r in trace.rows("parameters") if r.flag("requires_grad") and r.integer("optimizers")]
    return max((r.number("weight_decay") for r in rows), default=0.0)
