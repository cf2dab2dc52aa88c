"""In eval mode, the same input gives the same output."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from pytest_dlcheck.check import Check, Effect, Evidence, Example, example_trace
from pytest_dlcheck.faults.contract import randomness as faults
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Outcome, Verdict

_OF_STRANGERS = (
    Effect.INDEPENDENCE,
    Effect.FITTING,
    Effect.PROGRESS,
    Effect.LEARNING,
    Effect.GENERALIZATION,
)
"""What follows where each sample begins where another ended."""


@dataclass(frozen=True)
class EvalIsDeterministic(Check):
    """In eval mode, the same input gives the same output twice.

    **Why it matters.** Dropout that stays active degrades every prediction and every validation score:
    `F.dropout(x)` and `scaled_dot_product_attention(dropout_p=...)` do not know the module's mode, and a
    module whose `train()` is overridden may never hear of it.

    **How it decides.** By calling the model on one batch in eval mode under the same and under other
    random draws, those of generators that the model holds included; outputs may differ by 8 roundings of
    their dtype on a CPU (sums over threads), 64 elsewhere (atomic additions). Branches that start next
    to zero are given small weights meanwhile. Where draws are made and outputs agree, up to 60 calls
    look for a path that is rarely dropped: one of twenty is missed in 5 %. Where nothing shows, a
    training is made, and the same asked of its weights. Where outputs differ, what the draw does is
    followed. Units or paths zeroed at random, modules or operations that run at random fail; so does
    noise of a constant size that is added to what a prediction is made of, multiplies it, or chooses its
    parts by a coin. Other draws (a VAE's reparameterisation, sampled tokens, noise of a learned size,
    whatever restores its own inputs) and state carried from call to call are advice: they may be meant.
    State fails where the output of a sample depends on which one was at its place in the batch before,
    in both modes, and the loader draws batches at random.

    **What it cannot see.** Draws that do not reach the outputs, and those of the operating system.

    **Source.** PyTorch documentation of `torch.nn.functional.dropout` (`training=True` by default); the
    bounds are roundings (eps of the dtype), chosen, to be calibrated on accelerators.
    """

    family = "contract"
    reads = frozenset({"repeat"})
    glances = frozenset({"repeat_trained"})

    steps: int = 50
    """Steps of the training after which it is asked again; scales of 1e-6 are 0.01 and more by then."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """One batch, no training."""
        return (terms.inspect(),)

    def look_again(self, verdict: Verdict, evidence: Evidence) -> tuple[Trial, ...]:
        """The model once it is trained, where draws are made that do not show."""
        trace = evidence.the("inspect")
        row = trace.row("repeat")
        if verdict.outcome is not Outcome.PASSED or not row.flag("draws"):
            return ()
        if row.number("change") > row.number("bound"):
            return ()
        terms = Terms(steps=self.steps, seed=trace.trial.seed, device=trace.trial.device)
        return (replace(terms.train()[0], dense=True),)

    def judge(self, evidence: Evidence) -> Verdict:
        """By what came to its end: a second look that was cut short is none."""
        told = [t for t in evidence.traces if t.trial.kind != "train" or t.ending.kind == "completed"]
        return super().judge(Evidence(tuple(told)))

    def decide(self, evidence: Evidence) -> Verdict:
        """The verdict on the change between calls."""
        rows = [evidence.the("inspect").row("repeat"), *_later(evidence)]
        return min(map(self._one, rows), key=lambda verdict: not verdict.failed)

    def _one(self, row: Row) -> Verdict:
        change, bound = row.number("change"), row.number("bound")
        if not (math.isfinite(change) and math.isfinite(bound)):
            return self.inconclusive("the change between calls is not a finite number")
        against = f"{change:.2g} (bound {bound:.2g})"
        measure = Measure("relative change between calls", change, "ratio", bound)
        if change <= bound:
            calls = row.integer("calls", 2)
            return self.passed(f"{calls} calls in eval mode differ by at most {against}", measure)
        if row.flag("across_batches"):
            because = f"{row.text('output')} differs by {against} between two calls in eval mode"
            return self.failed_by(faults.carried_on(row, because, measure), *_OF_STRANGERS)
        if faults.is_fault(row):
            when = " after a training" if row.flag("trained") else ""
            because = f"{row.text('output')} differs by {against} between two calls in eval mode{when}"
            # A module that stays in train mode lets its normalisation mix samples too.
            more = (Effect.INDEPENDENCE,) if row.flag("culprit_training") else ()
            return self.failed_by(faults.at_random(row, because, measure), *more)
        return self.passed(
            "0 draws leave out units or modules in eval mode (bound 0); by others or by state, "
            f"{row.text('output')} differs by {change:.2g} between two calls",
            Measure("draws that leave out units or modules", 0, "count", 0),
            advice=(faults.advice(row),),
        )

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Repeatable, and random on purpose."""
        row = Row(output="output", change=0.0, bound=9.5e-7, device="cpu")
        yield Example("repeatable", (_trace(row),))
        noise = Row({**row, "change": 0.3}, kind="noise", culprit="", operation="randn_like")
        yield Example("a VAE samples", (_trace(noise),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Dropout and dropped paths that stay active."""
        row = Row(output="output", change=0.6, bound=9.5e-7, device="cpu", culprit_training=False)
        dropout = Row(row, kind="zeroing", culprit="block.mlp", operation="dropout", line="model.py:12")
        yield Example("F.dropout without training=", (_trace(dropout),), ("block.mlp",))
        added = Row(row, kind="adding", predicts=True, culprit="", operation="randn_like")
        yield Example("augmentation noise", (_trace(added),), ("",))
        depth = Row(row, kind="skipping", culprit="", operation="rand", line="model.py:30")
        yield Example("stochastic depth in eval", (_trace(depth),), ("",))
        hidden = Row({**row, "culprit": "rnn", "attribute": "hidden"}, kind="state", across_batches=True)
        yield Example("hidden state of the batch before", (_trace(hidden),), ("rnn",))
        still = Row(output="output", change=0.0, bound=9.5e-7, device="cpu", draws=True, calls=60)
        late = Row({**depth, "culprit": "blocks.2"}, trained=True)
        trial = replace(Terms(steps=cls.steps).train()[0], dense=True)
        trained = example_trace(trial, repeat_trained=late)
        yield Example("a branch that starts at zero", (_trace(still), trained), ("blocks.2",))


def _trace(row: Row) -> Trace:
    return example_trace(Terms().inspect(), repeat=row)


def _later(evidence: Evidence) -> list[Row]:
    """The same of trained weights, where that was asked."""
    traces = evidence.of("train", dense=True)
    return [row for trace in traces for row in trace.rows("repeat_trained")]
