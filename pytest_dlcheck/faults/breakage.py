"""Why a training broke, read off a second look at it. Whether it broke is the check's own question."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pytest_dlcheck.faults.readings import update_ratio
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.verdict import Suspect

PLACES = ("data", "forward", "loss", "backward", "update")
"""Kinds of places at which finite numbers can turn into others."""
LARGE_UPDATE = 0.1
"""Update per weight and step above which the learning rate is blamed (ratio). Chosen, to be
calibrated; the usual rule of thumb for healthy trainings is 1e-3."""
LARGE_SIGNAL = 100.0
"""Root mean square of the data, or of a module's outputs at the first step, that is blamed."""
MODERATE = 1e4
"""Largest input of a module up to which its own arithmetic is blamed for what it returns."""


@dataclass(frozen=True)
class Cause:
    """What a failure is put down to, in the words of a verdict."""

    suspects: tuple[Suspect, ...]
    cause: str
    remedy: str


def cause_of(trace: Trace) -> Cause:
    """Why the training broke.

    Args:
        trace: of a dense trial, with the fact ``breakage``; of a sampled one, it tells less.
    """
    rows = {row.text("kind"): row for row in trace.rows("breakage")}
    place = next((rows[kind] for kind in PLACES if kind in rows), None)
    first = () if place is None else (_suspect(place),)
    ratio = update_ratio(trace)
    if "data" in rows:
        return Cause(first, "the data are not finite", "find the samples, and repair or drop them")
    if ratio >= LARGE_UPDATE and (place is None or place.integer("step") > 0):
        blamed = Suspect("optimizer", f"its updates are {ratio:.2g} of the weights a step")
        cause = f"the learning rate is too high: a step moves the weights by {ratio:.2g} of their size"
        remedy = "lower the learning rate; warm it up, or clip gradients"
        return _too_large(rows) or Cause((blamed, *first), cause, remedy)
    if place is not None and (own := _own_arithmetic(place)):
        return Cause(first, own, "keep the argument away from there: clamp it, or add an epsilon")
    if large := _too_large(rows):
        return large
    if place is None and not math.isnan(ratio):
        finding = f"the loss climbs in small steps of {ratio:.2g} of the weights"
        cause = "the steps climb: maximize=True, or a gradient of the wrong sign"
        return Cause((Suspect("optimizer", finding),), cause, "turn the sign")
    unknown = Suspect("", "no place was found: the second look did not break")
    return Cause(first or (unknown,), "", "lower the learning rate, or look at what is named here")


def _too_large(rows: dict[str, Row]) -> Cause | None:
    """Whether data or initial weights are so large that any learning rate would be too high."""
    data, signal = rows.get("input", Row()), rows.get("signal", Row())
    if data.number("rms") > LARGE_SIGNAL:
        blamed = Suspect("data", f"inputs have a root mean square of {data.number('rms'):.3g}")
        return Cause((blamed,), "the inputs are not normalised", "scale them to about 1")
    if signal.number("largest") > LARGE_SIGNAL:
        grown = f"from {signal.number('input_rms'):.3g} to {signal.number('rms'):.3g}"
        blamed = Suspect(signal.text("site"), f"the signal grows {grown} there at the first step")
        return Cause((blamed,), "the initialisation explodes", "use Kaiming or Xavier, or normalise")
    return None


def _own_arithmetic(place: Row) -> str:
    kind, peak = place.text("kind"), place.number("input_peak")
    if kind == "backward":
        return "a derivative is not finite: sqrt, norm, log or a division, at zero"
    if kind in {"forward", "loss"} and peak <= MODERATE:
        return (
            f"arithmetic on numbers no larger than {peak:.3g}: "
            "log, sqrt or a division at zero, or an exp that overflows"
        )
    return ""


def _suspect(place: Row) -> Suspect:
    between = place.text("between")
    where = f"code between {between}" if between else place.text("kind")
    finding = f"the first {place.text('value')}, at step {place.integer('step')}, in {where}"
    return Suspect(place.text("site"), finding)
