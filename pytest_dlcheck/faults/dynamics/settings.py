"""Settings of optimizers that explain what a training did, and those that are unusual."""

from __future__ import annotations

import math
from collections.abc import Iterable

from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.verdict import Suspect

_FORGETFUL = 0.5
"""Second moments decay of Adam below which a step is no longer bounded by the rate (ratio); in use
are 0.9 to 0.9999."""
_HEAVY = 0.995
"""Momentum from which on steps add up to 200 times the rate and more (ratio); in use are 0 to 0.99."""
_MUCH_EPS = 0.1
"""Adam's epsilon from which on it outweighs most gradients (in their unit); 1e-3 is in use."""
_NO_EPS = 1e-15
"""Adam's epsilon from which on nothing guards its division (in units of the gradient)."""
_HALF_OF_LEAST = 3e-8
"""Half of the smallest number that float16 holds: what is below is rounded to 0."""


def groups(trace: Trace) -> tuple[Row, ...]:
    """The optimizers' parameter groups as the training began."""
    return trace.rows("optimizer_groups")


def large_steps(trace: Trace) -> tuple[Suspect, str, str] | None:
    """The setting that makes steps large whatever the rate: its suspect, the cause and the remedy."""
    for row in groups(trace):
        name, beta2, momentum = row.text("optimizer"), row.number("beta2"), row.number("momentum")
        if _divides(row) and beta2 < _FORGETFUL:
            cause = (
                f"betas=(..., {beta2:g}): {name} divides by the last gradient alone, so that elements "
                "whose gradient is small for once jump"
            )
            return Suspect("optimizer", f"beta2={beta2:g}"), cause, "use betas=(0.9, 0.999)"
        if momentum >= _HEAVY:
            gain = 1 / (1 - momentum) if momentum < 1 else math.inf
            cause = f"momentum={momentum:g}: steps add up to {gain:,.0f} times the learning rate"
            remedy = "use momentum=0.9, or a rate as many times lower"
            return Suspect("optimizer", f"momentum={momentum:g}"), cause, remedy
    return None


def endless_momentum(trace: Trace) -> tuple[Suspect, str, str, float] | None:
    """A momentum that forgets nothing: its suspect, the cause, the remedy and the momentum."""
    for row in groups(trace):
        momentum = row.number("momentum")
        if momentum >= 1:
            cause = f"momentum={momentum:g}: steps only add up, and no gradient is ever forgotten"
            suspect = Suspect("optimizer", f"momentum={momentum:g}")
            return suspect, cause, "use momentum=0.9", momentum
    return None


def no_epsilon(trace: Trace, site: str) -> tuple[Suspect, str, str] | None:
    """An optimizer that divides by the gradient's size alone, which may be zero, for that parameter."""
    types = {row.text("name"): row.text("dtype") for row in trace.rows("parameters")}
    for row in groups(trace):
        if types.get(site) == "float16" and row.number("eps") < _HALF_OF_LEAST:
            eps = f"eps={row.number('eps'):g}"
            cause = f"{eps} is 0 in float16: {row.text('optimizer')} divides by zero"
            remedy = 'keep the weights in float32 and use autocast (precision="fp16-mixed")'
            return Suspect("optimizer", f"{eps}, float16 weights"), cause, remedy
        if row.number("eps") < _NO_EPS:
            eps = f"eps={row.number('eps'):g}"
            cause = f"{eps}: {row.text('optimizer')} divides by zero where a gradient is 0"
            return Suspect("optimizer", eps), cause, "use eps=1e-8"
    return None


def maximizes(trace: Trace) -> bool:
    """Whether an optimizer was told to climb."""
    return any(row.flag("maximize") for row in groups(trace))


def largest_epsilon(trace: Trace) -> float:
    """The largest epsilon of optimizers that divide by the gradients' size; 0 where there is none."""
    return max((row.number("eps") for row in groups(trace) if "eps" in row), default=0.0)


def oddities(trace: Trace) -> Iterable[str]:
    """Advice on settings that are rarely meant."""
    for row in groups(trace):
        beta1, beta2 = row.number("beta1"), row.number("beta2")
        if _divides(row) and beta1 > beta2:
            yield f"betas=({beta1:g}, {beta2:g}): is it the wrong way round? usual is (0.9, 0.999)"
        elif _divides(row) and beta2 < _FORGETFUL:
            yield f"beta2={beta2:g}: the step of an element is not bounded by the learning rate"
        if row.number("momentum") >= _HEAVY:
            yield f"momentum={row.number('momentum'):g}: usual are 0.9 to 0.99"
        if row.number("eps") < _NO_EPS:
            yield f"eps={row.number('eps'):g}: nothing guards the division by a gradient of 0"
        if _divides(row) and row.number("eps") >= _MUCH_EPS:
            eps = f"eps={row.number('eps'):g}"
            yield f"{eps} outweighs gradients below it: steps shrink with them; usual is 1e-8"


def _divides(row: Row) -> bool:
    """Whether it is of Adam's kind, which divides by the gradients' size."""
    return "beta2" in row and "eps" in row and "beta3" not in row
