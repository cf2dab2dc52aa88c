"""Normalization learns: what BatchNorm uses in eval mode is what its batches had in training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from pytest_dlcheck.check import Check, Effect, Evidence, Example, example_trace
from pytest_dlcheck.faults.dynamics import normalization as faults
from pytest_dlcheck.trace import Row, Scalar, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Verdict


@dataclass(frozen=True)
class NormalizationLearns(Check):
    """The training moves running statistics of normalisation towards those of its batches.

    **Why it matters.** BatchNorm normalises by the batch in training and by running statistics in eval
    mode. Where these are not learned, the loss falls and the model that is deployed is another one, with
    noise for outputs: one of the most common reasons for a validation accuracy of chance.

    **How it decides.** After a short training some batches pass once more at the final weights, and each
    layer's means and variances are recomputed. How far the running ones are from them is a divergence of
    normal distributions (the median channel's), which alone proves nothing: weights that move fast leave
    healthy statistics behind. A layer that is further off than ``gap`` fails if it has not gone
    ``least_way`` of the way that its momentum and the number of calls allow, or its momentum is below
    ``least_momentum``; if it trains in eval mode, inside a larger module that does, by the statistics it
    was built with; and, one of the user's own, if it moves them elsewhere (``least_cosine``). A momentum
    that needs more steps than there were, one the wrong way round (0.99) and batches of one sample are
    advice. Frozen layers, and BatchNorm layers that alone were set to eval mode, are as they are meant.

    **What it cannot see.** The inside of compiled models, and statistics under names of another kind
    than ``running_mean`` and ``running_var``.

    **Source.** Ioffe & Szegedy, "Batch Normalization" (2015), 3.1; Wu & Johnson, "Rethinking 'Batch' in
    BatchNorm" (2021), 3, on recomputed ("precise") statistics; the measure is ours.
    """

    family: ClassVar = "dynamics"
    reads: ClassVar = frozenset({"normalization", "steps"})
    glances: ClassVar = frozenset[str]()
    shows: ClassVar = None
    leads_to: ClassVar = frozenset({Effect.GENERALIZATION})

    gap: float = 0.1
    """Divergence of the running from the recomputed statistics (nats): a standard deviation off by a
    quarter, or a mean by 0.45 deviations, in the median channel. Chosen as what begins to matter."""
    least_way: float = 0.1
    """Way gone over the way that momentum and calls allow (ratio); healthy recipes: above 0.5."""
    least_momentum: float = 1e-5
    """Momentum (ratio); the lowest that is known in use is 3e-4, of TensorFlow's 0.9997."""
    least_cosine: float = 0.5
    """Cosine between a call's move and the way (ratio); 1 for every running average."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """A short training."""
        return terms.train()

    def decide(self, evidence: Evidence) -> Verdict:
        """The worst seed's verdict."""
        verdicts = [self._of(trace) for trace in evidence.of("train")]
        return max(verdicts, key=lambda verdict: verdict.failed)

    def _unobserved(self, evidence: Evidence) -> Verdict | None:
        found = [t for t in evidence.of("train") if "normalization" in t.facts]
        if found and not any(t.rows("normalization") for t in found):
            return self.not_applicable("no module that is called keeps running statistics")
        return super()._unobserved(evidence)

    def _of(self, trace: Trace) -> Verdict:
        rows = [r for r in trace.rows("normalization") if r.flag("mixes") and not r.flag("frozen")]
        if not rows:
            return self.not_applicable("all running statistics are frozen (0 are to be learned)")
        off = [row for row in rows if row.number("gap") > self.gap]
        fault = (
            faults.stuck([row for row in off if self._is_stuck(row)], rows, self.gap)
            or faults.in_eval_mode([row for row in off if faults.is_left_in_eval(row)], rows, self.gap)
            or faults.astray([r for r in off if self._is_astray(r)], rows, self.least_cosine)
        )
        if fault:
            return self.failed_by(fault)
        advice = tuple(faults.oddities(rows, self.gap))
        worst = max(rows, key=lambda row: row.number("gap"))
        return self.passed(
            f"0 of {len(rows)} layers fail to learn their running statistics; {worst.text('name')} is "
            f"{worst.number('gap'):.2g} nats off ({self.gap:g}, or more on the way)",
            Measure("layers that do not learn their statistics", 0, "count", 0),
            Measure("divergence from the batches' statistics", worst.number("gap"), "nats"),
            advice=advice,
        )

    def _is_stuck(self, row: Row) -> bool:
        too_low = row.integer("calls") > 0 and row.number("momentum") < self.least_momentum
        return too_low or faults.stands_still(row, self.least_way)

    def _is_astray(self, row: Row) -> bool:
        return row.number("heads_for_it") < self.least_cosine

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Learned statistics; some that lag behind fast weights; frozen ones that never move."""
        yield Example("learned", (_example(gap=0.01, travelled=0.98),))
        yield Example("lagging", (_example(gap=3.0, travelled=0.6),))
        still = {"gap": 2.0, "travelled": 0.0, "changed": False}
        frozen = _row(name="body.bn", **still, frozen=True, calls=0, calls_in_eval=100)
        yield Example("frozen backbone", (_example(frozen, gap=0.01, travelled=0.98),))
        yield Example("norms in eval", (_example(**still, calls=0, calls_in_eval=100),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """A momentum of 0, a block left in eval mode, and a layer whose own update is wrong."""
        still = {"gap": 2.0, "travelled": 0.0, "changed": False}
        yield Example("momentum 0", (_example(**still, momentum=0.0),), ("bn",))
        left = _example(**still, calls=0, calls_in_eval=100, eval_around="body", initial=True)
        yield Example("eval left on", (left,), ("bn",))
        wrong = _example(gap=9.0, travelled=8.0, torch=False, momentum=None, heads_for_it=-0.4)
        yield Example("its own update", (wrong,), ("bn",))


def _row(**more: Scalar) -> Row:
    usual = Row(name="bn", type="BatchNorm2d", torch=True, mixes=True, momentum=0.1, tracks=True)
    seen = Row(usual, calls=100, calls_in_eval=0, samples=32, changed=True, began_in_train=True)
    return Row(seen, **more)


def _example(*others: Row, **more: Scalar) -> Trace:
    return example_trace(normalization=[_row(**more), *others], steps=Row(asked=100))
