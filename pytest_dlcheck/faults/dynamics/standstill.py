"""Parameters that do not move, told as faults. Thresholds are the check's own."""

from __future__ import annotations

import math
from statistics import median

from pytest_dlcheck.faults.dynamics import undone
from pytest_dlcheck.faults.dynamics.steps import warms_up
from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row, Series, Trace
from pytest_dlcheck.verdict import Measure, Suspect

_BELOW_A_BIT = 1e-7
"""Gradient over weight (ratio) below which a step of any usual rate is rounded away in float32."""


def nothing_changed(trace: Trace, reached: list[Row]) -> tuple[Fault | None, str]:
    """No parameter at all is another one in the end: the fault, or why that is none for sure."""
    rates = trace.series("learning_rate")
    if rates.values == (0.0,):
        return None, "lr is 0 in the 1 step there was (2 steps are needed)"
    moved = [row for row in reached if undone.moves(trace, row.text("name"))]
    if not moved:
        return _nothing_moves(reached, rates), ""
    if all(undone.is_put_back(trace, row.text("name")) for row in moved):
        return undone.each_step(trace, reached, moved), ""
    return None, (
        f"0 of {len(reached)} parameters with gradients are changed in the end, although steps moved "
        f"{len(moved)} (all expected): the first weights were put back after them"
    )


def _nothing_moves(reached: list[Row], rates: Series) -> Fault:
    """No step moves any parameter."""
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


def stands_still(trace: Trace, reached: list[Row]) -> Fault | None:
    """Parameters that an optimizer holds and a gradient reaches never changed."""
    stuck = [row for row in reached if row.get("changed") is False]
    moved = [row for row in stuck if undone.moves(trace, row.text("name"))]
    if put_back := [row for row in moved if undone.is_put_back(trace, row.text("name"))]:
        return undone.each_step(trace, reached, put_back)
    stuck = [row for row in stuck if row not in moved]
    if not stuck:
        return None
    cause, remedy = _why_still(trace, stuck)
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


def _why_still(trace: Trace, stuck: list[Row]) -> tuple[str, str]:
    if all(row.text("dtype") in {"bfloat16", "float16"} for row in stuck):
        return (
            f"updates are lost to rounding in {stuck[0].text('dtype')}",
            "keep the weights in float32 and use autocast (bf16-mixed)",
        )
    gradients, weights = trace.matrix("gradient_norm"), trace.matrix("parameter_norm")
    names = [row.text("name") for row in stuck if row.text("name") in weights.sites]
    sizes = {name: max((w for w in weights.column(name) if w), default=0.0) for name in names}
    largest = max(
        (g / sizes[name] for name in names for g in gradients.column(name) if g and sizes[name]),
        default=math.inf,
    )
    if largest < _BELOW_A_BIT:
        return (
            f"the signal vanishes: their gradients are at most {largest:.0e} of the weights",
            "initialise larger (Kaiming or Xavier), normalise, or look for saturated activations",
        )
    return (
        "the learning rate of their group is 0, or its steps are too small to change a bit",
        "look at the lr of the parameter group, and at what the optimizer skips",
    )
