"""Weight decay that eats the weights, told as faults. Thresholds are the check's own."""

from __future__ import annotations

from statistics import median

from pytest_dlcheck.faults.dynamics.decayed_group import misplaced
from pytest_dlcheck.faults.dynamics.steps import EARLY, shrinkage, strongest_decay, weights_of
from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Trace
from pytest_dlcheck.verdict import Measure, Suspect

_FAST = 2e-3
"""Learning rate times weight decay (ratio) that is blamed; healthy recipes: at most 1e-3."""
_OUTWEIGHS = 10.0
"""Weight decay's share over the gradient's (ratio) that is blamed; 1 where both hold the balance."""
_LESS_DECAY = "lower weight_decay: 0.01 to 0.1 with AdamW, 1e-5 to 1e-3 with SGD"
_USUAL = {"AdamW": 0.1, "SGD": 1e-3}
"""The most that is usual: below it, the rate is what is too high."""


def found(trace: Trace, least_weight: float, most_decay: float) -> Fault | None:
    """What weight decay does that it should not.

    Args:
        trace: the training.
        least_weight: norm of the weights at the end over that at the beginning (ratio).
        most_decay: what a step may forget of a weight (ratio).
    """
    return collapses(trace, least_weight) or forgets(trace, most_decay) or misplaced(trace)


def collapses(trace: Trace, bound: float) -> Fault | None:
    """Under a weight decay that explains it, weights shrink below the bound (ratio of their norm)."""
    kept_of = {name: shrinkage(trace, name) for name in weights_of(trace)}
    ends = {name: ratio for name, ratio in kept_of.items() if ratio is not None}
    if not ends or not median(ends.values()) < bound or not _decays_explain(trace, list(ends)):
        return None
    kept, strongest = median(ends.values()), strongest_decay(trace)
    return Fault(
        f"the weights shrink to {kept:.1%} of their norm (at least {bound:.0%})",
        measures=(Measure("weight norm, end to beginning", kept, "ratio", bound, ">="),),
        suspects=[
            Suspect("optimizer", f"weight_decay={strongest:g}"),
            *(Suspect(n, f"shrinks to {r:.1%}") for n, r in ends.items() if r < bound),
        ],
        **_cause(trace, strongest),
    )


def _decays_explain(trace: Trace, names: list[str]) -> bool:
    """Whether it decays faster than trainings do, or early outweighs the gradients it is added to.

    Over a long training weights may shrink to a fraction under a decay that is as it should be.
    """
    rate = max(trace.series("learning_rate"), default=0.0)
    if rate * strongest_decay(trace) >= _FAST:
        return True
    if "AdamW" in trace.row("recipe").text("optimizer"):
        return False  # its decay is no part of the gradient
    decays = {r.text("name"): r.number("weight_decay") for r in trace.rows("parameters")}
    gradients, weights = trace.matrix("gradient_norm"), trace.matrix("parameter_norm")
    shares = []
    for name in names:
        flows = dict(zip(gradients.steps, gradients.column(name), strict=True))
        sizes = list(zip(weights.steps, weights.column(name), strict=True))[:EARLY]
        shares += [decays[name] * w / g for step, w in sizes if w and (g := flows.get(step))]
    return bool(shares) and median(shares) >= _OUTWEIGHS


def forgets(trace: Trace, bound: float) -> Fault | None:
    """SGD and AdamW shrink every weight by lr times weight_decay a step: by more than the bound."""
    optimizer = trace.row("recipe").text("optimizer")
    strongest, rate = strongest_decay(trace), max(trace.series("learning_rate"), default=0.0)
    if optimizer not in {"SGD", "AdamW"} or not rate * strongest > bound:
        return None
    return Fault(
        f"each step forgets {rate * strongest:.0%} of the weights (at most {bound:.0%})",
        measures=(Measure("lr times weight_decay", rate * strongest, "ratio", bound),),
        suspects=[Suspect("optimizer", f"weight_decay={strongest:g}, lr up to {rate:.1e}")],
        **_cause(trace, strongest),
    )


def _cause(trace: Trace, strongest: float) -> dict[str, str]:
    """Which of the two is out of the usual, the decay or the rate that it is multiplied by."""
    rate = max(trace.series("learning_rate"), default=0.0)
    if strongest <= _USUAL.get(trace.row("recipe").text("optimizer"), 0.0):
        cause = f"a learning rate of {rate:g} is too high: weight_decay={strongest:g} forgets with it"
        return {"cause": cause, "remedy": "lower the learning rate"}
    cause = f"weight_decay={strongest:g} is too strong for this learning rate"
    return {"cause": cause, "remedy": _LESS_DECAY}
