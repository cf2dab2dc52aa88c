"""Why a batch is not fitted, told in words. Thresholds are the check's."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_dlcheck.faults.dynamics.update import LARGER_NORM, clipped_away
from pytest_dlcheck.faults.losses.rows import shallow
from pytest_dlcheck.faults.readings import Fit, heaviest_decay, update_ratio
from pytest_dlcheck.trace import Trace
from pytest_dlcheck.verdict import Suspect

GLANCED = frozenset({"update_norm", "parameter_norm", "parameters", "gradient_norm", "loss_soundness"})
"""What is read here beside the loss."""
DECAY = 0.1
"""Weight decay from which it can keep a batch from being fitted: AdamW's is 0.01, large models' 0.1."""
SLOW = 1e-3
"""Update per weight and step up to which a higher learning rate may help: healthy ones are near it."""


ADAM = "plain Adam with learning rate 0.001"
"""What is tried in the place of the recipe's own optimizer."""
QUICKER = 10.0
"""How many times larger Adam's steps are (ratio) where those of the recipe are called small; chosen."""


def story(fit: Fit, enough: float) -> str:
    """How far the loss came, and how far it should have.

    Args:
        fit: how the loss went.
        enough: share of its way that is asked (ratio).
    """
    went = f"the loss on a fixed batch went from {fit.first:.4g} to {fit.recent:.4g}"
    if not fit.tells:
        return f"{went}: one output for all samples does as well as any, so that nothing is told by that"
    if fit.from_guessing and fit.progress < 0:
        asked = f"{enough:g} of the way from there to {fit.floor:.3g} is asked"
        return f"{went}: still above the {fit.start:.4g} of one output for all samples ({asked})"
    way = f"it covered {fit.progress:.2g} of its way from {fit.start:.4g} to {fit.floor:.3g}"
    return f"{went}: {way} (must be {enough:g})"


def lately(fit: Fit, enough: float) -> str:
    """What the second half of the steps added.

    Args:
        fit: how the loss went.
        enough: share of its way that is asked of it (ratio).
    """
    if not fit.gained.low > 0:
        return "and it no longer falls"
    return (
        f"and the second half of the steps adds {fit.gained.estimate:.1g} of that ({enough:g} is asked)"
    )


def quicker(ratio: float, trace: Trace, adam: Trace | None, enough: float) -> str:
    """Whether far larger steps fit it, and what to do then; empty where they do not, or are not larger.

    Args:
        ratio: update per weight and step.
        trace: the trial's.
        adam: that of plain Adam.
        enough: share of its way that it must have covered (ratio).
    """
    fit = Fit.of(adam) if adam else None
    if adam is None or fit is None or not fit.tells or not fit.progress >= enough:
        return ""
    if not ratio <= SLOW or not (larger := update_ratio(adam)) >= QUICKER * ratio:
        return ""
    moves = f"moves the weights by {larger:.1g} of their size a step, and the recipe by {ratio:.1g}"
    clipped = clipped_away(trace)
    remedy = f"{clipped[1]}: {LARGER_NORM}" if clipped else "raise the learning rate"
    return f"{ADAM} fits it in {len(adam.series('loss'))} steps; it {moves}: {remedy}"


def optimizer(fit: Fit, ratio: float, trace: Trace, low: float, high: float) -> tuple[Suspect, str]:
    """What about the optimizer keeps it from fitting what plain Adam fits, and the cause in a line.

    Args:
        fit: how the loss went.
        ratio: update per weight and step.
        trace: the trial's.
        low: ratio below which the learning rate is too low.
        high: ratio above which it is too high.
    """
    recipe, adam = trace.row("recipe"), f"{ADAM} fits the same batch"
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
