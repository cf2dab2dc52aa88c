"""Contract: outputs, loss and first gradients are finite numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pytest_dlcheck.check import Check, Effect, Evidence, Example, example_trace
from pytest_dlcheck.faults.contract.finite import count, is_bad, not_finite
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Verdict


@dataclass(frozen=True)
class OutputsAreFinite(Check):
    """Outputs, loss and the gradients of the first backward hold no NaN and no infinity.

    On the first batch, in train and in eval mode, outputs and loss are finite, and the first backward
    gives every parameter a finite gradient.

    **Why it matters.** One NaN spreads to every weight at the first step, and a backward that is NaN
    where the forward is finite (`sqrt`, `norm` or `log` at zero, `0/0` behind a `where`) does so without
    a sign in the loss.

    **How it decides.** By counting: no NaN, no +inf, no -inf. The first module whose output is not
    finite while all before were is named; for gradients the place is sought in the order of the
    backward. -inf in outputs whose loss is finite (log-probabilities, masked logits) is advice, and so
    are infinite gradients in fp16, which a loss scaler skips. Where eval mode is not finite only because
    BatchNorm has no running statistics yet, they are given a few passes first.

    **What it cannot see.** Numbers that overflow later in the training: that is `training_is_stable`.

    **Source.** Anomaly detection as in `torch.autograd.detect_anomaly`, by module instead of by line.
    """

    family = "contract"
    reads = frozenset({"finite"})
    glances = frozenset({"recipe"})
    shows = Effect.OUTPUTS
    leads_to = frozenset(Effect) - {Effect.RUN}

    allowed: int = 0
    """Numbers that may be NaN or infinite (count): none can be trained on."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """One batch, no training."""
        return (terms.inspect(),)

    def decide(self, evidence: Evidence) -> Verdict:
        """Fail at the first place, in the order of computation, that holds one."""
        trace = evidence.traces[0]
        rows = trace.rows("finite")
        half = trace.row("recipe").text("precision") == "fp16-mixed"
        bad = [r for r in rows if is_bad(r) and not (half and r.text("mode") == "backward")]
        losses = {r.text("mode") for r in rows if r.text("place").startswith("loss") and count(r)}
        masked = [r for r in rows if r.integer("neg_inf") and r not in bad]
        bad += [r for r in masked if r.text("mode") in losses]
        advice = [
            f"{count(r)} numbers of {r.text('place')} are -inf; the loss is finite"
            for r in masked
            if r not in bad and r.text("mode") != "before"
        ][:1]
        used = [row for row in bad if row.text("mode") != "before"]
        found = sum(map(count, used))
        measure = Measure("numbers not finite", found, "count", self.allowed)
        if found <= self.allowed:
            total = sum(row.integer("total") for row in rows)
            text = f"{found} of {total} numbers are NaN or infinite (bound {self.allowed})"
            return self.passed(text, measure, advice=advice)
        earlier = [row for row in bad if row.text("mode") == "before"]
        inherited = earlier[0] if earlier and used[0].text("mode") != "backward" else None
        return self.failed_by(not_finite(used[0], inherited, measure), advice=advice)

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Finite throughout, or with an intended -inf."""
        yield Example("finite", (_trace(_row("output"), _row("loss", total=1)),))
        yield Example("masked logits", (_trace(_row("output", neg_inf=3), _row("loss", total=1)),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """A logarithm of zero, and a norm at zero that only the backward shows."""
        log = (_row("output", nan=4, site="enc.log"), _row("loss", nan=1, site="enc.log"))
        yield Example("log", (_trace(*log),), ("enc.log",))
        norm = _row("gradients", mode="backward", total=6, nan=2, site="norm")
        yield Example("norm", (_trace(_row("loss"), norm),), ("norm",))
        data = (_row("batch[0]", mode="before", nan=1), _row("loss", nan=1, site="fc"))
        yield Example("missing values in the data", (_trace(*data),), ("data",))


def _row(place: str, **more: str | int) -> Row:
    known: dict[str, str | int] = {"mode": "train", "total": 640, "nan": 0, "inf": 0, "neg_inf": 0}
    return Row({**known, "place": place, **more})


def _trace(*rows: Row) -> Trace:
    return example_trace(Terms().inspect(), finite=rows)
