"""Outputs stay apart: a loss that holds outputs against each other leaves them different."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from pytest_dlcheck.check import Check, Effect, Evidence, Example, Family, example_trace
from pytest_dlcheck.faults.contract import collapse
from pytest_dlcheck.trace import Row, Scalar, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Verdict


@dataclass(frozen=True)
class OutputsStayApart(Check):
    """Outputs that a loss holds against each other do not become the same for all samples.

    **Why it matters.** Siamese networks without negatives, latents that are predicted, and towers that
    are aligned have a trivial solution: one constant output. The loss reaches its floor, and nothing is
    learned. A `detach()` that was forgotten is enough.

    **How it decides.** On a watched loop, at a few backward passes, from the graph between the loss and
    the outputs of models that were called: whether some of these are held against others, and whether
    the loss is made of nothing but their distances, with gradients on both sides, nothing fixed, and
    nothing that pushes apart. What tells samples apart is measured on the compared outputs: 1 minus the
    mean cosine of two samples, and the size of their differences. It fails where every loss looked at
    is such and ``left`` or less of it remains. Where it has not come true, and where a loss with other
    terms lets its outputs become alike, it is advice.

    **What it cannot see.** Losses computed deep within a model's own forward, of other than its parts'
    outputs, or in compiled code; and the collapse of outputs that are normalised over the batch.

    **Source.** Chen and He, "Exploring simple Siamese representation learning" (2021): without
    stop-gradient the outputs collapse, and the loss reaches its minimum.
    """

    family: ClassVar[Family] = "loop"
    reads: ClassVar[frozenset[str]] = frozenset({"loop"})
    glances: ClassVar[frozenset[str]] = frozenset({"likeness"})
    shows: ClassVar[Effect | None] = Effect.LOOP
    leads_to: ClassVar[frozenset[Effect]] = frozenset(
        {Effect.LEARNING, Effect.GENERALIZATION, Effect.SIGNAL, Effect.UPDATES}
    )
    judges_divergence: ClassVar[bool] = True

    left: float = 0.1
    """What tells outputs of samples apart at the end over that at first (ratio); chosen: siamese nets
    whose targets are detached kept 0.65 over 80 steps, others 0.01 to 0.08."""
    looks: int = 8
    """Losses (count) below which nothing is concluded."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """The user's own loop."""
        return (terms.watch(),)

    def decide(self, evidence: Evidence) -> Verdict:
        """By what the loss is made of, then by what is left."""
        trace = evidence.the("watch")
        rows = trace.rows("likeness")
        if not trace.row("loop").integer("steps"):
            return self.not_applicable("nothing was trained here: no optimizer stepped")
        if not rows:
            return self.not_applicable("the loss holds no outputs of the model against each other")
        row = rows[0]
        looked, left = row.integer("looked"), row.number("left")
        if looked < self.looks:
            return self.inconclusive(f"{looked} losses looked at are too few to tell (of {self.looks})")
        if collapse.has_collapsed(row, self.left):
            return self.failed_by(collapse.undetached(row, self.left))
        drawn = row.integer("attracting")
        apart = Measure("what is left of samples' differences", left, "ratio", self.left, ">")
        mixed = Measure("losses that only draw outputs together", drawn, "count", looked, "<")
        return self.passed(
            f"{left:.0%} is left of what tells samples apart (more than {self.left:.0%} should be where "
            f"all {looked} losses only draw outputs together: {drawn} do)",
            mixed if drawn < looked else apart,
            advice=filter(None, [collapse.advice(row, self.left)]),
        )

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """A contrastive loss; one that only attracts, with outputs that stay apart."""
        yield Example("contrastive", (_example(attracting=0),))
        yield Example("normalised over the batch", (_example(left=1.8),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """A target that is not detached."""
        yield Example("collapsed", (_example(left=0.03, apart=0.02),), ("loss",))


def _example(**found: Scalar) -> Trace:
    seen = {"looked": 21, "comparing": 21, "attracting": 21, "outputs": 2, "apart": 0.4, "left": 0.6}
    row = Row({**seen, "apart_before": 0.6, "size_left": 1.0, **found})
    return example_trace(Terms().watch(), loop=Row(steps=80), likeness=row)
