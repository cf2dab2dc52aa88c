"""Why a training broke, read off a second look at it. Whether it broke is the check's own question."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from pytest_dlcheck.faults.data import scaling as data_scaling
from pytest_dlcheck.faults.dynamics import settings, steps
from pytest_dlcheck.faults.dynamics.large_steps import why_too_large
from pytest_dlcheck.faults.dynamics.unplaced import Cause, unplaced
from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.faults.readings import update_ratio
from pytest_dlcheck.statistics import running_medians
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.verdict import Measure, Suspect

PLACES = ("data", "forward", "loss", "backward", "update")
"""Kinds of places at which finite numbers can turn into others."""
LARGE_UPDATE = 0.1
"""Update per weight and step above which the learning rate is blamed (ratio). Chosen, to be
calibrated; the usual rule of thumb for healthy trainings is 1e-3."""
LARGE_SIGNAL = 100.0
"""Root mean square of the data, or of a module's outputs at the first step, that is blamed."""
MODERATE = 1e4
"""Largest input of a module up to which its own arithmetic is blamed for what it returns."""


def named(story: str, measure: Measure, trace: Trace, dense: Trace | None) -> Fault:
    """What broke, put down to its cause.

    Args:
        story: what happened.
        measure: by what it is known.
        trace: of the training.
        dense: of the second look at it; None before.
    """
    ratios = [update_ratio(each) for each in (trace, dense) if each is not None]
    found = cause_of(dense or trace, max(filter(math.isfinite, ratios), default=math.nan))
    return Fault(story, (measure,), found.suspects, found.cause, found.remedy)


def cause_of(trace: Trace, ratio: float) -> Cause:
    """Why the training broke.

    Args:
        trace: of a dense trial, with the fact ``breakage``; of a sampled one, it tells less.
        ratio: how far a step moved the weights, relative to their size.
    """
    rows = {row.text("kind"): row for row in trace.rows("breakage")}
    place = next((rows[kind] for kind in PLACES if kind in rows), None)
    first = () if place is None else (_suspect(place),)
    if "data" in rows:
        return Cause(first, "the data are not finite", "find the samples, and repair or drop them")
    updated = place.text("site") if place is not None and place.text("kind") == "update" else None
    if updated is not None and (eps := settings.no_epsilon(trace, updated)):
        return Cause((eps[0], *first), *eps[1:])
    if ratio >= LARGE_UPDATE and (place is None or place.integer("step") > 0):
        return _too_large(rows) or _entry_too_large(trace) or _steps_too_large(trace, ratio, first)
    own = "" if place is None else _own_arithmetic(place)
    if own:
        return Cause(first, own, "keep the argument away from there: clamp it, or add an epsilon")
    return _too_large(rows) or _entry_too_large(trace) or _unknown(trace, ratio, place, first)


def _unknown(trace: Trace, ratio: float, place: Row | None, first: tuple[Suspect, ...]) -> Cause:
    if place is None and settings.maximizes(trace):
        finding = f"maximize=True: the loss climbs in steps of {ratio:.2g} of the weights"
        return Cause((Suspect("optimizer", finding),), "the steps climb: maximize=True", "turn the sign")
    broken = broken_at(trace)
    if place is None and not trace.trial.dense and broken is not None:
        return unplaced(trace, broken)
    unknown = Suspect("", "no place was found: the second look did not break")
    return Cause(first or (unknown,), "", "lower the learning rate, or look at what is named here")


def _steps_too_large(trace: Trace, ratio: float, first: tuple[Suspect, ...]) -> Cause:
    blamed = Suspect("optimizer", f"its updates are {ratio:.2g} of the weights a step")
    if known := why_too_large(trace):
        return Cause((blamed, *first), *known[1:])
    cause = f"the learning rate is too high: a step moves the weights by {ratio:.2g} of their size"
    return Cause((blamed, *first), cause, "lower the learning rate; warm it up, or clip gradients")


def _too_large(rows: dict[str, Row]) -> Cause | None:
    """Whether data or initial weights are so large that any learning rate would be too high."""
    batch, signal = rows.get("input", Row()), rows.get("signal", Row())
    for part in ("inputs", "targets"):
        size = batch.number("rms" if part == "inputs" else "targets")
        if size > LARGE_SIGNAL:
            blamed = Suspect("data", f"{part} have a root mean square of {size:.3g}")
            return Cause((blamed,), f"the {part} are not normalised", "scale them to about 1")
    if signal.number("largest") > LARGE_SIGNAL:
        grown = f"from {signal.number('input_rms'):.3g} to {signal.number('rms'):.3g}"
        blamed = Suspect(signal.text("site"), f"the signal grows {grown} there at the first step")
        return Cause((blamed,), "the initialisation explodes", "use Kaiming or Xavier, or normalise")
    return None


def _entry_too_large(trace: Trace) -> Cause | None:
    fault = data_scaling.at_the_entry(trace)
    return None if fault is None else Cause(tuple(fault.suspects), fault.cause, fault.remedy)


SEARCH = 20
"""Steps that a gradient scaler may skip while it looks for its scale; it takes about 16."""


def overflows(skips: int, asked: int, bound: float) -> Fault | None:
    """The gradient scaler finds no scale: it skips more steps than the bound (ratio)."""
    if skips <= max(bound * asked, SEARCH):
        return None
    return Fault(
        f"the gradient scaler skipped {skips} of {asked} steps (at most {bound:.0%})",
        measures=(Measure("skipped steps", skips / asked, "ratio", bound),),
        suspects=[Suspect("loss", "it or its gradients overflow in fp16 at every scale")],
        cause="the loss or its gradients overflow in fp16, whatever the scale",
        remedy='use precision="bf16-mixed", or compute the loss in fp32',
    )


def broken_at(trace: Trace) -> int | None:
    """The first step with a loss or gradient that is not finite."""
    at = [trace.ending.step or 0] if trace.ending.kind == "diverged" else []
    if trace.is_finite("loss") and trace.is_finite("gradient_norm"):
        return min(at, default=None)
    losses, norms = trace.series("loss"), trace.matrix("gradient_norm")
    at += [s for s, v in zip(losses.steps, losses.values, strict=True) if not math.isfinite(v)]
    rows = zip(norms.steps, norms.values, strict=True)
    at += [s for s, row in rows if not all(math.isfinite(v) for v in row if v is not None)]
    return min(at, default=None)


def relapse(trace: Trace, learned: float, lost: float, grown: float) -> Fault | None:
    """A loss that fell and rose again while the weights grew: steps that add up to ever larger ones.

    Args:
        trace: what was recorded.
        learned: how far it must have fallen (ratio of the first).
        lost: how much of that it must have risen again, by the last fifth of the steps (ratio).
        grown: how far the weights must have grown (ratio of their norm).
    """
    covered = steps.progress(trace)
    if covered is None or not covered < 1 - lost:
        return None
    losses, growth = trace.series("loss").values, steps.growth(trace)
    smooth = running_medians(losses, 5)
    best, last = min(smooth, default=math.nan), median(losses[-max(1, len(losses) // 5) :])
    fall = smooth[0] - best if smooth else 0.0
    if not fall >= learned * abs(smooth[0]):
        return None
    back = (last - best) / fall
    if not (back >= lost and growth >= grown):
        return None
    suspect, cause, remedy = why_too_large(trace) or (
        Suspect("optimizer", f"the weights grew {growth:.3g}-fold"),
        "the learning rate is too high: the weights grow until nothing is left of what was learned",
        "lower the learning rate; warm it up, or clip gradients",
    )
    return Fault(
        f"the loss fell from {smooth[0]:.3g} to {best:.3g} and rose to {last:.3g}: {back:.0%} of its "
        f"fall is lost (at most {lost:.0%}), and the weights grew {growth:.3g}-fold",
        measures=(
            Measure("share of the fall that is lost", back, "ratio", lost),
            Measure("growth of the weights", growth, "ratio", grown),
        ),
        suspects=[suspect],
        cause=cause,
        remedy=remedy,
    )


def rise_of(losses: Sequence[float], peak: float) -> tuple[float, str, float]:
    """How far losses rise (ratio), and above what: the first, unless that may be near zero by chance.

    Returns:
        The rise, what it is above, and by how much the first is of no account (in units of the loss).
    """
    if min(losses) > 0:
        return peak / losses[0], "the first", 0.0
    usual = max(abs(losses[0]), median(map(abs, losses)), 1e-12)
    return 1 + (peak - losses[0]) / usual, "what is usual where losses reach zero", usual


def rises(trace: Trace, smooth: Sequence[float], steep: float) -> bool:
    """Whether the loss rises steeply in between, as one does that a lower learning rate would help.

    Held against its first three values, since the first batch alone may be an easy one. A loss of both
    signs has no scale to rise by, and losses that are trained against each other raise each other.

    Args:
        trace: of the training.
        smooth: the medians of every three losses in a row.
        steep: rise (ratio) from which on it is.
    """
    if trace.row("recipe").flag("several_objectives") or min(trace.series("loss").values) < 0:
        return False
    return max(smooth) - smooth[0] >= (steep - 1) * max(smooth[0], 1e-12)


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
