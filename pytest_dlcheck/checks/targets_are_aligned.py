"""Targets are aligned: a loss compares outputs with the targets of the same samples."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from pytest_dlcheck.check import Check, Effect, Evidence, Example, Family, example_trace
from pytest_dlcheck.faults import comparing as faults
from pytest_dlcheck.trace import Row, Scalar, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Verdict


@dataclass(frozen=True)
class TargetsAreAligned(Check):
    """The targets that a loss sees were loaded with its inputs, and are compared one by one.

    **Why it matters.** With the labels of the batch before, or with every output compared with every
    target, the loss still falls a little: to what the targets are on average.

    **How it decides.** On a watched loop, at sampled backward passes, from the graph of the loss:
    torch's losses keep their targets there. Inputs and targets are held against the last batches that
    data loaders gave, by fingerprints; a batch that is found for both must be the same. It fails where
    ``several`` losses and ``some`` of those that can be told have targets of another batch only, and
    where outputs ``[n, 1]`` meet targets ``[n]`` and make ``[n, n]``. Gradients that flow into the
    targets are advice: a teacher that is not detached, or a loss that is meant so; so is a batch of
    images that is viewed as another number of rows, across its axes.

    **What it cannot see.** Batches that no loader gave or that are changed before the model, targets
    that are changed before the loss, losses that torch does not compute in one piece, and pairs that
    were wrong in the data set already.

    **Source.** The warning of ``torch.nn.functional.mse_loss`` about broadcasting; Karpathy, "A Recipe
    for Training Neural Networks" (2019).
    """

    family: ClassVar[Family] = "loop"
    reads: ClassVar[frozenset[str]] = frozenset({"loop", "comparisons"})
    shows: ClassVar[Effect | None] = Effect.LOOP
    leads_to: ClassVar[frozenset[Effect]] = frozenset(
        {Effect.PROGRESS, Effect.LEARNING, Effect.GENERALIZATION, Effect.FITTING}
    )
    judges_divergence: ClassVar[bool] = True

    several: int = 3
    """Losses (count) that are no accident."""
    some: float = 0.5
    """Share of the losses that can be told (ratio); a loss on an older batch beside, as in replay, is
    healthy."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """The user's own loop."""
        return (terms.watch(),)

    def decide(self, evidence: Evidence) -> Verdict:
        """By the batches, then by the shapes."""
        row = evidence.the("watch").row("comparisons")
        looked, wrong = row.integer("looked"), row.integer("misaligned")
        known, crossed = wrong + row.integer("aligned"), row.integer("crossed")
        bound = max(self.several, self.some * known)
        if wrong >= bound:
            return self.failed_by(faults.of_another_batch(row, bound))
        if crossed >= max(self.several, self.some * looked):
            return self.failed_by(faults.crossed(row, max(self.several, self.some * looked)))
        advice = []
        if 2 * row.integer("moving") > looked:
            advice.append(
                "gradients flow into the targets of the loss: detach() them, unless both should move"
            )
        if 2 * row.integer("cut") > looked:
            shapes = row.text("cut_shapes")
            advice.append(
                f"a view cuts samples apart: the model is called on {shapes}; mind view(-1, n)"
            )
        story = (
            f"{wrong} of {known} losses have targets of another batch, {crossed} of {looked} broadcast "
            f"shapes (fewer than {bound:g} may)"
        )
        measure = Measure("losses with another batch's targets", wrong, "count", bound, "<")
        if not looked:
            return self.not_applicable("no loss was looked at")
        if not known and not advice:
            return self.inconclusive(f"{story}; where targets come from could not be told", measure)
        return self.passed(story, measure, advice=advice)

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Aligned; one of an older batch."""
        yield Example("aligned", (_example(),))
        yield Example("a replayed batch", (_example(aligned=20, misaligned=4, age=1),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Of another batch; broadcast."""
        before = _example(aligned=1, misaligned=23, age=1)
        yield Example("labels of the batch before", (before,), ("data",))
        shapes = "[64, 1] against [64] makes [64, 64]"
        yield Example("[n, 1] against [n]", (_example(crossed=24, crossed_shapes=shapes),), ("loss",))


def _example(**found: Scalar) -> Trace:
    row = {"looked": 24, "aligned": 24, "misaligned": 0, "crossed": 0, "moving": 0, "age": None}
    return example_trace(Terms().watch(), loop=Row(steps=24), comparisons=Row({**row, **found}))
