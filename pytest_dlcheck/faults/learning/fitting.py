"""Why a batch is not fitted, told in words. Thresholds are the check's."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_dlcheck.faults.dynamics.update import LARGER_NORM, clipped_away
from pytest_dlcheck.faults.losses.rows import shallow
from pytest_dlcheck.faults.readings import Fit, heaviest_decay
from pytest_dlcheck.trace import Trace
from pytest_dlcheck.verdict import Suspect

GLANCED = frozenset({"update_norm", "parameter_norm", "parameters", "gradient_norm", "loss_soundness"})
"""What is read here beside the loss."""
DECAY = 0.1
"""Weight decay from which it can keep a batch from being fitted: AdamW's is 0.01, large models' 0.1."""
SLOW = 1e-3
"""Update per weight and step up to which a higher learning rate may help: healthy ones are near it."""


def optimizer(fit: Fit, ratio: float, trace: Trace, low: float, high: float) -> tuple[Suspect, str]:
    """What about the optimizer keeps it from fitting what plain Adam fits, and the cause in a line.

    Args:
        fit: how the loss went.
        ratio: update per weight and step.
        trace: the trial's.
        low: ratio below which the learning rate is too low.
        high: ratio above which it is too high.
    """
    recipe, adam = trace.row("recipe"), "plain Adam with learning rate 0.001 fits the same batch"
    moves = f"{recipe.text('optimizer')} moves the weights by {ratio:.2g} of their size a step"
    decay = heaviest_decay(trace)
    if ratio < low and not fit.rises:
        if ratio > 0 and (clipped := clipped_away(trace, low / ratio)):
            return _blame(f"{clipped[0].finding}: {moves}", f"{clipped[1]}: {adam}", LARGER_NORM)
        finding = f"learning rate too low, or other weights: {moves}"
        return _blame(finding, f"the learning rate is too low: {adam}", "raise the learning rate")
    if recipe.flag("maximize") or (fit.rises and low < ratio <= high and decay < DECAY):
        finding = f"{moves}, and the loss climbs: maximize=True, or a gradient of the wrong sign"
        return _blame(finding, f"the steps climb: {adam}", "turn the sign")
    if decay >= DECAY:
        finding = f"its weight decay is {decay:g}, and {moves}"
        return _blame(finding, f"the weight decay is too large: {adam}", "lower the weight decay")
    if ratio > high:
        finding = f"learning rate too high: {moves}"
        return _blame(finding, f"the learning rate is too high: {adam}", "lower the learning rate")
    return _blame(moves, f"the optimizer: {adam}", "change the learning rate, or try Adam")


def pace(ratio: float) -> str:
    """What may fit a batch sooner, whose loss falls slowly.

    Args:
        ratio: update per weight and step.
    """
    if ratio <= SLOW:
        return "slow, but falling: a higher learning rate may fit it sooner"
    return "slow, but falling: more steps may fit it"


def rest(fit: Fit, inspected: Iterable[Trace]) -> str:
    """The cause where no optimizer fits it.

    Args:
        fit: how the loss went.
        inspected: traces of one batch, which may know what the loss is given.
    """
    rows = (row for trace in inspected for row in trace.rows("loss_soundness"))
    if bounded := next((line for row in rows for line in shallow(row)), ""):
        return bounded
    if fit.recent > fit.start - 0.1 * abs(fit.start - fit.floor):
        return "the outputs do not follow the inputs: one answer for all samples does as well"
    return "model, loss or data rather than the optimizer"


def _blame(finding: str, cause: str, remedy: str) -> tuple[Suspect, str]:
    return Suspect("optimizer", finding, remedy), cause
