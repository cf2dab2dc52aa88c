"""Contract: autograd Functions of one's own give the derivative of what they compute."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pytest_dlcheck.check import Check, Effect, Evidence, Example, example_trace
from pytest_dlcheck.faults.contract import backward as faults
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Verdict


@dataclass(frozen=True)
class BackwardIsCorrect(Check):
    """The backward of a custom `autograd.Function` is the derivative of its forward.

    For every Function of the user's own in the graph of the loss, and every input of it that requires
    grad, backward agrees with finite differences of forward.

    **Why it matters.** A wrong backward raises nothing: training goes somewhere, slowly.

    **How it decides.** On the very values that the Function was called with: central differences along 5
    random directions in double precision (in single where it takes no doubles), judged by the median
    relative error. Backward functions that differ on purpose pass, and the verdict says so: a forward
    that is constant piece by piece (straight-through, spikes), one that rounds (quantisers, also if
    their scale depends on the input), one that gives its input back and only changes the gradient
    (reversal, scaling, clipping), and one that differs where a clamp is flat. One that lets nothing
    through is advice. What else differs fails, with the mechanism where it can be told: a constant
    factor, a sign, a transpose, an ignored `grad_output`, a missing gradient.

    **What it cannot see.** Functions behind which no gradient of the loss flows, wrong gradients made
    without a Function (`detach`, hooks), and second derivatives.

    **Source.** `torch.autograd.gradcheck`; Karpathy, CS231n notes, "Gradient checks".
    """

    family = "contract"
    reads = frozenset({"custom_backward"})
    shows = Effect.GRADIENTS
    leads_to = frozenset({Effect.STABILITY, Effect.FITTING, Effect.PROGRESS, Effect.LEARNING})

    error: float = 1e-3
    """Relative error (ratio) in double precision. Right ones of smooth functions have 1e-10 to 1e-8
    here; CS231n takes 1e-2 for surely wrong and 1e-4 for fine where there are kinks."""
    rough_error: float = 0.05
    """The same in single precision (ratio), where differences keep two digits or so; chosen."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """One batch, no training."""
        return (terms.inspect(),)

    def decide(self, evidence: Evidence) -> Verdict:
        """Fail on gradients that differ without a reason that may be meant."""
        rows = evidence.the("inspect").rows("custom_backward")
        told = [row for row in rows if not row.text("refused")]
        untold = [row for row in rows if row not in told or not self._is_sure(row)]
        bad = [row for row in told if row not in untold and row.number("error") > self._bound(row)]
        advice = list(self._advice(told, bad))
        if lasting := [row for row in bad if not faults.on_purpose(self._kin(told, row), row)]:
            first = lasting[0]
            return self.failed_by(faults.wrong(lasting, first, self._bound(first)), advice=advice)
        if untold:
            why = untold[0].text("refused") or "differences of its forward do not settle"
            names = ", ".join(sorted({row.text("function") for row in untold}))
            return self.inconclusive(f"{names} could not be differentiated: {why}", advice=advice)
        worst = max((row for row in told if row not in bad), key=_error, default=None)
        names = ", ".join(sorted({row.text("function") for row in told}))
        value = 0.0 if worst is None else _error(worst)
        bound = self.error if worst is None else self._bound(worst)
        text = f"gradients of {names} err by at most {value:.2g}, relatively (bound {bound:g})"
        text = "; ".join([text, *self._meant(told, bad)])
        measure = Measure("relative error of a directional derivative", value, "ratio", bound)
        return self.passed(text, measure, advice=advice)

    def _bound(self, row: Row) -> float:
        return self.error if row.text("precision") == "float64" else self.rough_error

    def _is_sure(self, row: Row) -> bool:
        finite = all(math.isfinite(row.number(key)) for key in ("error", "rough"))
        return finite and row.number("rough") <= self._bound(row)

    def _kin(self, rows: Iterable[Row], row: Row) -> list[Row]:
        return [other for other in rows if other.text("function") == row.text("function")]

    def _meant(self, told: list[Row], bad: list[Row]) -> Iterator[str]:
        reasons = {row.text("function"): faults.on_purpose(self._kin(told, row), row) for row in bad}
        yield from (f"{function} differs: {reason}" for function, reason in reasons.items())

    def _advice(self, told: list[Row], bad: list[Row]) -> Iterator[str]:
        yield from faults.advice_on_silence([r for r in bad if faults.silences(self._kin(told, r))])
        yield from faults.advice_on_loss(told, self.error)

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """A right derivative; a straight-through estimator; a gradient reversal."""
        yield Example("right", (_trace(_row(error=1e-9, ratio=1.0)),))
        rounding = _row(function="Round", error=1.0, flat=True)
        yield Example("straight-through rounding", (_trace(rounding),))
        scaled = _row(function="FakeQuant", error=0.96, quantises=True)
        yield Example("rounding by the largest weight", (_trace(scaled),))
        reversal = _row(function="Reverse", error=2.0, ratio=-1.0, identity=True)
        yield Example("gradient reversal", (_trace(reversal),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Half the derivative; a chain rule without grad_output; a forgotten gradient."""
        yield Example("half", (_trace(_row(error=0.5, ratio=0.5)),), ("block.act",))
        yield Example("no chain rule", (_trace(_row(error=0.7, ignores=True)),), ("block.act",))
        forgotten = _row(error=1.0, silent=True, argument=1, name="weight")
        yield Example("a gradient is forgotten", (_trace(_row(), forgotten),), ("block.act",))


def _error(row: Row) -> float:
    return row.number("error")


def _row(**more: float | str | bool) -> Row:
    known: dict[str, float | str | bool] = {
        "function": "Swish",
        "site": "block.act",
        "line": "model.py:12",
        "argument": 0,
        "name": "x",
        "precision": "float64",
        "error": 1e-9,
        "rough": 1e-9,
    }
    return Row({**known, **more})


def _trace(*rows: Row) -> Trace:
    return example_trace(Terms().inspect(), custom_backward=rows)
