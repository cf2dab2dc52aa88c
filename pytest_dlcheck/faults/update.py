"""How parameters fail to move as they should, told as faults. Thresholds are the check's own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import fmean, median

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row, Series, Trace
from pytest_dlcheck.verdict import Measure, Suspect

EARLY = 8
"""Recorded steps in which a learning rate that is too high shows itself."""
_CLIPPED = 1e3
"""Gradient norm over the norm it is clipped to, from which on clipping is blamed; chosen."""
_DAMPED = 0.01
"""Adam's update over its learning rate; 0.1 to 1 in healthy runs."""


def nothing_moves(reached: list[Row], rates: Series) -> Fault:
    """No parameter at all changed."""
    if len(rates) and max(rates) == 0:
        cause, remedy = "the learning rate is 0 in every step", "raise lr, or mend the scheduler"
    elif not any(row.integer("optimizers") for row in reached):
        cause = "no optimizer holds a trainable parameter of this model"
        remedy = "build the optimizer over model.parameters(), after the model is final"
    else:
        cause = "no step reaches the parameters that the model computes with"
        remedy = "build the optimizer over this very model's parameters()"
    return Fault(
        f"0 of {len(reached)} parameters with gradients changed (all expected)",
        measures=(Measure("parameters changed", 0, "count", len(reached), ">="),),
        suspects=[
            Suspect("optimizer", "it changed no parameter"),
            *(Suspect(row.text("name"), "has gradients, never changes") for row in reached),
        ],
        cause=cause,
        remedy=remedy,
    )


def stands_still(reached: list[Row]) -> Fault | None:
    """Parameters that an optimizer holds and a gradient reaches never changed."""
    stuck = [row for row in reached if row.get("changed") is False]
    if not stuck:
        return None
    low = all(row.text("dtype") in {"bfloat16", "float16"} for row in stuck)
    cause = (
        f"updates are lost to rounding in {stuck[0].text('dtype')}"
        if low
        else "the learning rate of their group is 0, or its steps are too small to change a bit"
    )
    remedy = (
        "keep the weights in float32 and use autocast (bf16-mixed)"
        if low
        else "look at the lr of the parameter group, and at what the optimizer skips"
    )
    return Fault(
        f"{len(stuck)} of {len(reached)} parameters receive gradients and never change (0 expected)",
        measures=(Measure("parameters that never change", len(stuck), "count", 0),),
        suspects=[Suspect(row.text("name"), "has gradients, never changes") for row in stuck],
        cause=cause,
        remedy=remedy,
    )


def rounded(trace: Trace, bound: float) -> Fault | None:
    """Half-precision elements stand still, all in all more than the bound (ratio)."""
    rows = trace.rows("rounding")
    total = sum(row.number("numel") for row in rows)
    if not total or warms_up(trace):
        return None
    lost = sum(row.number("numel") * row.number("still_share") for row in rows) / total
    if not lost > bound:
        return None
    worst = sorted(rows, key=lambda row: -row.number("still_share"))
    return Fault(
        f"{lost:.0%} of the elements of {worst[0].text('dtype')} parameters never change although "
        f"they have gradients (at most {bound:.0%})",
        measures=(Measure("elements that stand still", lost, "ratio", bound),),
        suspects=[
            Suspect(r.text("name"), f"{r.number('still_share'):.0%} of its elements stand still")
            for r in worst
            if r.number("still_share") > bound
        ],
        cause=f"updates are smaller than {worst[0].text('dtype')} can hold beside the weights",
        remedy='keep the weights in float32 and use autocast (precision="bf16-mixed")',
    )


def collapses(trace: Trace, bound: float) -> Fault | None:
    """Under weight decay the weights shrink below the bound (ratio of their norm)."""
    kept_of = {name: _shrinkage(trace, name) for name in _weights(trace)}
    ends = {name: ratio for name, ratio in kept_of.items() if ratio is not None}
    decays = {r.text("name"): r.number("weight_decay") for r in trace.rows("parameters")}
    if not ends or not any(decays.get(name, 0) > 0 for name in ends):
        return None
    kept = median(ends.values())
    if not kept < bound:
        return None
    strongest = max(decays.get(name, 0) for name in ends)
    return Fault(
        f"the weights shrink to {kept:.1%} of their norm (at least {bound:.0%})",
        measures=(Measure("weight norm, end to beginning", kept, "ratio", bound, ">="),),
        suspects=[
            Suspect("optimizer", f"weight_decay={strongest:g}", "lower it"),
            *(Suspect(n, f"shrinks to {r:.1%}") for n, r in ends.items() if r < bound),
        ],
        cause=f"weight_decay={strongest:g} is too strong for this learning rate",
        remedy="lower weight_decay: 0.01 to 0.1 with AdamW, 1e-5 to 1e-3 with SGD",
    )


def forgets(trace: Trace, bound: float) -> Fault | None:
    """SGD and AdamW shrink every weight by lr times weight_decay a step: by more than the bound."""
    optimizer = trace.row("recipe").text("optimizer")
    rows = [r for r in trace.rows("parameters") if r.flag("requires_grad")]
    strongest = max((r.number("weight_decay") for r in rows if r.integer("optimizers")), default=0)
    rate = max(trace.series("learning_rate"), default=0.0)
    if optimizer not in {"SGD", "AdamW"} or not rate * strongest > bound:
        return None
    return Fault(
        f"each step forgets {rate * strongest:.0%} of the weights (at most {bound:.0%})",
        measures=(Measure("lr times weight_decay", rate * strongest, "ratio", bound),),
        suspects=[Suspect("optimizer", f"weight_decay={strongest:g}, lr up to {rate:.1e}")],
        cause=f"weight_decay={strongest:g} is too strong for this learning rate",
        remedy="lower weight_decay: 0.01 to 0.1 with AdamW, 1e-5 to 1e-3 with SGD",
    )


def too_small(trace: Trace, typical: float, bound: float, covered: float) -> Fault:
    """The steps are smaller than the bound (ratio), and the loss did not move."""
    rate = max(trace.series("learning_rate"), default=math.nan)
    return Fault(
        f"a step moves the weights by {typical:.1e} of their norm (at least "
        f"{bound:.0e}), and the loss by {covered:.2%} over the whole trial",
        measures=(
            Measure("update over weight", typical, "ratio", bound, ">="),
            Measure("loss covered", covered, "ratio"),
        ),
        suspects=[Suspect("optimizer", f"lr at most {rate:.1e}", "raise the learning rate")],
        cause=_why_small(trace, rate),
        remedy=f"steps of 1e-3 of the weights are usual, not {typical:.0e}",
    )


def too_large(trace: Trace, early: float, bound: float) -> Fault:
    """Early steps are larger than the bound (ratio), and the loss does not fall."""
    rate = max(trace.series("learning_rate"), default=math.nan)
    return Fault(
        f"an early step moves the weights by {early:.1e} of their norm (at most "
        f"{bound:.0e}), and the loss does not fall",
        measures=(Measure("update over weight, largest early", early, "ratio", bound),),
        suspects=[Suspect("optimizer", f"lr up to {rate:.1e}", "lower the learning rate")],
        cause=f"the learning rate ({rate:.1e}) is too high",
        remedy=f"lower it, about {early / 1e-3:.0e} times: 1e-3 a step is usual",
    )


def oddities(
    typical: float, early: float, ratios: Mapping[str, list[float]], least: float, most: float
) -> Iterable[str]:
    """Advice on steps that are unusual and yet no fault."""
    if typical < least:
        yield f"steps are small ({typical:.1e} of the weights): is the learning rate too low?"
    if early > most:
        yield f"early steps are large ({early:.1e} of the weights): is lr too high?"
    for name, values in ratios.items():
        if median(values) > most >= early:
            yield f"{name} moves by {median(values):.1e} of its norm a step, far beyond the rest"


def reached(trace: Trace, least: float) -> list[Row]:
    """Trainable parameters whose gradients are no structural zeros."""
    sizes = {}
    for name, values in trace.matrix("gradient_norm").columns():
        found = [value for value in values if value is not None]
        sizes[name] = median(found) if found else 0.0
    rows = {r.text("name"): r for r in trace.rows("parameters") if r.flag("requires_grad")}
    rms = {n: sizes.get(n, 0.0) / math.sqrt(max(1, r.integer("numel"))) for n, r in rows.items()}
    typical = median([size for size in rms.values() if size] or [0.0])
    return [row for name, row in rows.items() if rms[name] and rms[name] >= least * typical]


def warms_up(trace: Trace) -> bool:
    """Whether the learning rate still rises at the end."""
    rates = trace.series("learning_rate")
    return len(rates) > 0 and rates[-1] >= max(rates) and rates[-1] > 1.2 * rates[len(rates) // 2]


def _why_small(trace: Trace, rate: float) -> str:
    """Adam moves each element by about the learning rate, whatever the gradient, unless eps is large."""
    numels = {r.text("name"): r.integer("numel", 1) for r in trace.rows("parameters")}
    updates = trace.matrix("update_norm")
    shares = [
        median(values) / (rate * math.sqrt(numels[name]))
        for name in _weights(trace)
        if (values := [u for u in updates.column(name) if u]) and rate > 0
    ]
    limit, size = trace.row("recipe").number("max_grad_norm"), _total_gradient(trace)
    if size > _CLIPPED * limit:
        return f"max_grad_norm={limit:g} clips gradients of norm {size:.2g} to next to nothing"
    adam = "Adam" in trace.row("recipe").text("optimizer")
    if adam and shares and median(shares) < _DAMPED:
        return f"Adam moves by {median(shares):.0e} of its learning rate: its eps dwarfs the gradients"
    return f"the learning rate ({rate:.1e}) is too low"


def _total_gradient(trace: Trace) -> float:
    """The median norm of all gradients together, before clipping."""
    rows = trace.matrix("gradient_norm").values
    return median(math.hypot(*(g for g in row if g is not None)) for row in rows) if rows else 0.0


def _weights(trace: Trace) -> list[str]:
    """Matrices and kernels that train and did not begin at zero."""
    return [
        row.text("name")
        for row in trace.rows("parameters")
        if row.flag("requires_grad")
        and row.text("shape").count(", ")
        and not row.flag("zero_at_start")
        and row.text("name") in trace.matrix("update_norm").sites
    ]


def ratios(trace: Trace) -> dict[str, list[float]]:
    """Update over weight where the learning rate is at least a tenth of its peak.

    What AdamW takes off as weight decay is no step towards anything: it is left out.
    """
    decays = {row.text("name"): row.number("weight_decay") for row in trace.rows("parameters")}
    decoupled = trace.row("recipe").text("optimizer") == "AdamW"
    updates, sizes = trace.matrix("update_norm"), trace.matrix("parameter_norm")
    rates = dict(zip(*_rates(trace), strict=True))
    peak = max(rates.values(), default=0.0)
    found = {}
    for name in _weights(trace):
        columns = zip(updates.steps, updates.column(name), sizes.column(name), strict=True)
        decay = decays[name] if decoupled else 0.0
        ratios = [
            math.sqrt(max(0.0, (u / w) ** 2 - (rate * decay) ** 2))
            for step, u, w in columns
            if u and w and (rate := rates.get(step, peak)) >= 0.1 * peak
        ]
        if ratios:
            found[name] = ratios
    return found


def _rates(trace: Trace) -> tuple[tuple[int, ...], tuple[float, ...]]:
    series = trace.series("learning_rate")
    return series.steps, series.values


def _shrinkage(trace: Trace, name: str) -> float | None:
    sizes = [size for size in trace.matrix("parameter_norm").column(name) if size is not None]
    return sizes[-1] / sizes[0] if len(sizes) > 1 and sizes[0] else None


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
