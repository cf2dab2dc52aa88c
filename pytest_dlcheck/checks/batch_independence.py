"""A sample's output does not depend on its neighbours in the batch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from pytest_dlcheck.check import Check, Effect, Evidence, Example, example_trace
from pytest_dlcheck.faults.contract import mixing as faults
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Verdict


@dataclass(frozen=True)
class BatchIndependence(Check):
    """In eval mode, a sample's output does not depend on its neighbours in the batch.

    **Why it matters.** Training hides such a leak and serving single samples breaks on it: a `view`
    where a `transpose` was meant, time and batch mixed up (`batch_first`), a softmax over dim 0,
    statistics taken over the batch.

    **How it decides.** By replacing the samples after, then before some that are kept, and by reversing
    the batch, in double precision where the model runs in it and single leaves a doubt; outputs of kept
    samples may change by no more than rounding. Zero-initialised parameters get small random values
    meanwhile. On a leak, the first module whose inputs for the kept samples agree while its outputs do
    not is named. A normalisation without running statistics, chosen by `track_running_stats=False`, is
    advice. A model that draws random numbers in eval mode is only judged on replaced later samples, for
    which it draws the same. Where a ``collate_fn`` of your own pads samples, a short one is put beside a
    long one: an output that changes with the padding is advice, as unmasked convolutions are common.

    **What it cannot see.** What a constant output hides; nor can it judge models whose samples do not
    stand alone (declare `batch_dim=None`).

    **Source.** Karpathy, A Recipe for Training Neural Networks, 2019 ("use backprop to chart
    dependencies"); bounds are half of the digits of the output's precision, 1e-6 for float64.
    """

    family = "contract"
    reads = frozenset({"neighbours"})
    glances = frozenset({"padding"})
    shows = Effect.INDEPENDENCE
    leads_to = frozenset({Effect.FITTING, Effect.PROGRESS})

    much: float = 0.4
    """Change (ratio) from which on it may be why inputs teach nothing: digits into which others were
    mixed by 0.39 were learned all the same, those of a reshape at 0.67 were not."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """One batch, no training."""
        return (terms.inspect(),)

    def decide(self, evidence: Evidence) -> Verdict:
        """The verdict on the largest change."""
        row = evidence.the("inspect").row("neighbours")
        change, bound = row.number("change"), row.number("bound")
        if not (math.isfinite(change) and math.isfinite(bound)):
            return self.inconclusive("the change of the outputs is not a finite number")
        if change <= bound:
            return self.passed(
                f"with other neighbours the outputs of {row.integer('samples')} samples change by at "
                f"most {faults.against(row)}",
                faults.change(row),
                advice=faults.advice_on_padding(evidence.the("inspect")),
            )
        if row.flag("keeps_no_statistics"):
            return self.passed(
                f"0 unintended leaks (bound 0): {faults.finding(row)}, by statistics that are not kept",
                Measure("leaks that nobody asked for", 0, "count", 0),
                advice=[faults.advice_on_statistics(row)],
            )
        hides = (Effect.LEARNING, Effect.GENERALIZATION) if change >= self.much else ()
        return self.failed_by(faults.mixed(row), *hides)

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Rounding only."""
        row = Row(output="output", change=2e-16, bound=1e-6, precision="float64", samples=8)
        yield Example("independent rows", (_trace(row),))
        own = Row({**row, "change": 2e-5, "bound": 3.4e-4, "precision": "float32", "samples": 2})
        yield Example("only float32 to be had", (_trace(own),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Leaks."""
        row = Row(
            output="output", change=0.4, bound=1e-6, precision="float64", samples=8, changed="earlier"
        )
        lstm = Row(
            {**row, "culprit": "rnn", "culprit_type": "LSTM", "batch_first": False},
            only_from_earlier=True,
        )
        yield Example("batch_first forgotten", (_trace(lstm),), ("rnn",))
        softmax = Row({**row, "culprit": "", "culprit_type": "Attention", "changed": "later"})
        yield Example("softmax over dim 0 in the root's forward", (_trace(softmax),), ("",))
        yield Example("place unknown", (_trace(Row({**row, "culprit": None})),), ("output",))


def _trace(row: Row) -> Trace:
    return example_trace(Terms().inspect(), neighbours=row)
