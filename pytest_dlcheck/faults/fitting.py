"""Why a batch is not fitted, told in words. Thresholds are the check's."""

from __future__ import annotations

from pytest_dlcheck.faults.readings import Fit
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Suspect


def optimizer(fit: Fit, ratio: float, recipe: Row, low: float, high: float) -> Suspect:
    """The optimizer under suspicion.

    Args:
        fit: how the loss went.
        ratio: update per weight and step.
        recipe: the trial's fact of that name.
        low: ratio below which the learning rate is too low.
        high: ratio above which it is too high.
    """
    finding = f"{recipe.text('optimizer')} moves the weights by {ratio:.2g} of their size a step"
    if ratio < low and not fit.rises:
        return Suspect("optimizer", f"learning rate too low, or other weights: {finding}")
    if ratio > high and not recipe.flag("maximize"):
        return Suspect("optimizer", f"learning rate too high: {finding}", "lower it")
    climbs = fit.rises and (ratio > low or recipe.flag("maximize"))
    sign = ", and the loss climbs: maximize=True, or a gradient of the wrong sign"
    return Suspect("optimizer", f"{finding}{sign if climbs else ''}")


def rest(fit: Fit) -> str:
    """The cause where no optimizer fits it."""
    if fit.recent > fit.start - 0.1 * abs(fit.start - fit.floor):
        return "the outputs do not follow the inputs: one answer for all samples does as well"
    return "model, loss or data rather than the optimizer"
