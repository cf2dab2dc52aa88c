"""What is known of a training that broke and was seen once, as a watched loop is."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pytest_dlcheck.trace import Trace
from pytest_dlcheck.verdict import Suspect

_LOOK = "look for a log, sqrt, division or exp without an epsilon or a clamp"
_ANOMALIES = "torch.autograd.detect_anomaly() names the operation"


@dataclass(frozen=True)
class Cause:
    """What a failure is put down to, in the words of a verdict."""

    suspects: tuple[Suspect, ...]
    cause: str
    remedy: str


def unplaced(trace: Trace, broken: int) -> Cause:
    """By what broke first: what the model was given, the loss, or a gradient.

    Args:
        trace: of the training, which was seen once.
        broken: the first step whose loss or a gradient of which is not finite.
    """
    if _is_broken(trace, "batch_fingerprint", broken):
        given = Suspect("data", f"what the model is given at step {broken} holds NaN or infinity")
        remedy = "find out where it comes from, and repair or drop such samples"
        return Cause((given,), "the model is given numbers that are not finite", remedy)
    if _is_broken(trace, "loss", broken):
        return _of_the_loss(broken)
    return _of_gradients(trace, broken)


def _of_the_loss(broken: int) -> Cause:
    if broken:
        finding = f"finite until step {broken}, where it is NaN or infinite"
        remedy = f"look at the batch of step {broken}; in model and loss {_LOOK}"
        return Cause((Suspect("loss", finding),), "", remedy)
    finding = "NaN or infinite at the first step, before any weight was moved"
    cause = "data, initial weights, or arithmetic in model or loss: no step was made before"
    remedy = f"look for NaN in a batch; in model and loss {_LOOK}"
    return Cause((Suspect("loss", finding),), cause, remedy)


def _of_gradients(trace: Trace, broken: int) -> Cause:
    norms = trace.matrix("gradient_norm")
    row = dict(zip(norms.steps, norms.values, strict=True)).get(broken, ())
    pairs = zip(norms.sites, row, strict=False)
    names = [name for name, norm in pairs if norm is not None and not math.isfinite(norm)]
    finding = f"its gradient is NaN or infinite at step {broken}, while the loss is finite"
    cause = "" if broken else "a derivative is not finite: sqrt, norm, log or a division, at zero"
    return Cause(tuple(Suspect(name, finding) for name in names), cause, f"{_LOOK}; {_ANOMALIES}")


def _is_broken(trace: Trace, channel: str, step: int) -> bool:
    series = trace.series(channel)
    known = dict(zip(series.steps, series.values, strict=True))
    return not math.isfinite(known.get(step, 0.0))
