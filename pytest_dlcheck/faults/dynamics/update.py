"""Steps of the wrong size, told as faults. Thresholds are the check's own."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import median

from pytest_dlcheck.faults.data import scaling as data_scaling
from pytest_dlcheck.faults.dynamics import schedule, settings
from pytest_dlcheck.faults.dynamics.large_steps import why_too_large
from pytest_dlcheck.faults.dynamics.steps import (
    SCALE_FREE,
    adam_share,
    gradient_ratio,
    growth,
    progress,
    quickest_of,
    ratios,
    sizes_of,
    strongest_decay,
    total_gradient,
)
from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.faults.readings import update_ratio
from pytest_dlcheck.trace import Trace
from pytest_dlcheck.verdict import Measure, Suspect

_CLIPPED = 1e3
"""Gradient norm over the norm it is clipped to, from which on clipping is told of steps that train."""
_CLIPPED_STILL = 1e2
"""The same, from which on it is blamed for steps that do not: ``clipping_is_rare`` asks the same."""
LARGER_NORM = "clip to norms of about 1, or what most gradients have"
"""What to do about it."""
SIZES = frozenset({"update_norm", "parameter_norm", "gradient_norm"})
"""What is read to tell so."""
_STILL = 1e-4
"""Update per weight and step below which clipping is blamed for a flat loss; usual is 1e-3 (ratio)."""
_DAMPED = 0.01
"""Adam's update over its learning rate; 0.07 to 1 in healthy recipes."""
_FAST_DECAY = 5e-3
"""Learning rate times weight decay from which on it is told; healthy recipes: at most 1e-3."""
_FLAT = 0.005
"""Share of the loss on fixed batches that even a slow training covers (ratio)."""
_SLOW = 5.0
"""How far above the least step (ratio) a step counts as small where the loss is flat besides."""
_GROWN = 10.0
"""Growth of the weights (ratio of their norm) that is told; healthy recipes: up to 5.1, LBFGS 7.9."""


def too_small(trace: Trace, typical: float, bound: float, covered: float) -> Fault:
    """The steps are smaller than the bound (ratio), and the loss did not move."""
    rate = max(trace.series("learning_rate"), default=math.nan)
    short = bound / typical if typical else math.inf
    suspect, cause = _why_small(trace, rate, short)
    return Fault(
        f"a step moves the weights by {typical:.1e} of their norm (at least "
        f"{bound:.0e}), and the loss by {covered:.2%} over the whole trial",
        measures=(
            Measure("update over weight", typical, "ratio", bound, ">="),
            Measure("loss covered", covered, "ratio"),
        ),
        suspects=[suspect],
        cause=cause,
        remedy=LARGER_NORM
        if clipped_away(trace, short)
        else f"steps of 1e-3 of the weights are usual, not {typical:.0e}",
    )


def damped(trace: Trace, covered: float) -> Fault | None:
    """Adam's steps are a small part of its learning rate, and the loss did not move."""
    share = adam_share(trace)
    if share is None or share >= _DAMPED:
        return None
    eps = settings.largest_epsilon(trace)
    suspect = Suspect("optimizer", f"eps={eps:g}", "lower it")
    cause = f"eps={eps:g} dwarfs the gradients that Adam divides by"
    remedy = "use eps=1e-8, the default, or up to 1e-4"
    if clipped := clipped_away(trace):
        (suspect, cause), remedy = clipped, LARGER_NORM
    return Fault(
        f"Adam moves the weights by {share:.1e} of its learning rate (at least {_DAMPED:g}, usual is "
        f"0.1 to 1), and the loss by {covered:.2%} over the whole trial",
        measures=(Measure("update over learning rate", share, "ratio", _DAMPED, ">="),),
        suspects=[suspect],
        cause=cause,
        remedy=remedy,
    )


def unforgetting(trace: Trace) -> Fault | None:
    """A momentum of 1 or more: steps only ever add up."""
    found = settings.endless_momentum(trace)
    if found is None:
        return None
    suspect, cause, remedy, momentum = found
    return Fault(
        f"momentum={momentum:g} keeps every gradient for ever (must be below 1)",
        measures=(Measure("momentum", momentum, "ratio", 1.0, "<"),),
        suspects=[suspect],
        cause=cause,
        remedy=remedy,
    )


def too_large(trace: Trace, early: float, bound: float) -> Fault:
    """Early steps are larger than the bound (ratio), and the loss does not fall."""
    rate = max(trace.series("learning_rate"), default=math.nan)
    known, entry = why_too_large(trace), data_scaling.at_the_entry(trace)
    blamed: tuple[Suspect, ...] = (
        Suspect("optimizer", f"lr up to {rate:.1e}", "lower the learning rate"),
    )
    remedy = "try a tenth and a hundredth of it: steps of 1e-3 of the weights are usual"
    cause = f"the learning rate ({rate:.1e}) is too high"
    if known is not None:
        blamed, cause, remedy = (known[0], *blamed), *known[1:]
    elif entry is not None:
        blamed, cause, remedy = tuple(entry.suspects), entry.cause, entry.remedy
    return Fault(
        f"an early step moves the weights by {early:.1e} of their norm (at most "
        f"{bound:.0e}), and the loss does not fall",
        measures=(Measure("update over weight, largest early", early, "ratio", bound),),
        suspects=blamed,
        cause=cause,
        remedy=remedy,
    )


def oddities(trace: Trace, least: float, most: float) -> Iterable[str]:
    """Advice on steps and settings that are unusual and yet no fault."""
    found = ratios(trace)
    typical, early = sizes_of(found)
    covered = progress(trace)
    flat = covered is not None and abs(covered) < _FLAT
    small = typical if flat else quickest_of(found)  # behind gates of zero, most layers wait at first
    if small < (_SLOW if flat else 1) * least:
        yield f"steps are small ({typical:.1e} of the weights): is the learning rate too low?"
    curved = trace.row("recipe").text("optimizer") == "LBFGS"  # it knows how far to go
    if early > most and not curved:
        large_inputs = data_scaling.at_the_entry(trace) is not None
        why = "are the inputs not scaled?" if large_inputs else "is lr too high?"
        yield f"early steps are large ({early:.1e} of the weights): {why}"
    elif growth(trace) > _GROWN and not curved:
        yield f"the weights grow {growth(trace):.3g}-fold: is the learning rate too high?"
    for name, values in found.items() if not curved else ():
        if median(values) > most >= early:
            yield f"{name} moves by {median(values):.1e} of its norm a step, far beyond the rest"
    limit, size = trace.row("recipe").number("max_grad_norm"), total_gradient(trace)
    if size > _CLIPPED * limit:
        yield f"max_grad_norm={limit:g} clips gradients of norm {size:.2g} to next to nothing"
    decay = max(trace.series("learning_rate"), default=0.0) * strongest_decay(trace)
    if decay >= _FAST_DECAY and trace.row("recipe").text("optimizer") in {"SGD", "AdamW"}:
        yield f"each step forgets {decay:.1%} of the weights: is weight_decay too strong?"
    yield from settings.oddities(trace)
    yield from schedule.fades(trace)


def _why_small(trace: Trace, rate: float, short: float) -> tuple[Suspect, str]:
    """Which of a step's factors is small: clipped gradients, Adam's division, gradients, or the rate.

    Args:
        trace: the training.
        rate: its highest learning rate.
        short: how many times larger a step should be.
    """
    if clipped := clipped_away(trace, short):
        return clipped
    share, gradient = adam_share(trace), gradient_ratio(trace)
    if share is not None and share < _DAMPED:
        eps = settings.largest_epsilon(trace)
        cause = f"eps={eps:g} dwarfs the gradients: Adam moves by {share:.0e} of its learning rate"
        return Suspect("optimizer", f"eps={eps:g}", "lower it"), cause
    if share is None and 0 < gradient < rate:  # of the two factors of a step, the one to blame
        cause = f"the signal vanishes: the gradients are {gradient:.0e} of the weights"
        return Suspect("", f"gradients of {gradient:.0e} of the weights, at lr={rate:.1e}"), cause
    cause = f"the learning rate ({rate:.1e}) is too low"
    return Suspect("optimizer", f"lr at most {rate:.1e}", "raise the learning rate"), cause


def flat(trace: Trace) -> tuple[str, str, str, str]:
    """Site, finding, cause and remedy of a loss that neither falls nor rises."""
    clipped = clipped_away(trace) if update_ratio(trace) < _STILL else None
    if clipped is None:
        return "", "the loss is flat", "", "look first at what else fails"
    return "optimizer", clipped[0].finding, clipped[1], LARGER_NORM


def _cancels_scale(trace: Trace) -> bool:
    """Whether the size of gradients makes no difference: Adam divides by it, above its epsilon."""
    if (share := adam_share(trace)) is not None:
        return not share < _DAMPED
    return any(name in trace.row("recipe").text("optimizer") for name in SCALE_FREE)


def clipped_away(trace: Trace, short: float = 1.0) -> tuple[Suspect, str] | None:
    """Gradients that are clipped to next to nothing, so that whole ones would make up for ``short``.

    Not where the size of gradients makes no difference to the steps.
    """
    if _cancels_scale(trace):
        return None
    limit, size = trace.row("recipe").number("max_grad_norm"), total_gradient(trace)
    if not size > max(_CLIPPED_STILL, short) * limit:
        return None
    cause = f"max_grad_norm={limit:g} clips gradients of norm {size:.2g} to next to nothing"
    return Suspect("optimizer", f"gradients of norm {size:.2g}, clipped to {limit:g}"), cause
