"""Targets are aligned: a loss compares outputs with the targets of the same samples."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

from pytest_dlcheck.check import Check, Effect, Evidence, Example, Family, example_trace
from pytest_dlcheck.faults.comparing import comparing as faults
from pytest_dlcheck.faults.comparing import examples
from pytest_dlcheck.faults.comparing.advice import advice_on
from pytest_dlcheck.faults.comparing.foresight import as_meant, not_shifted, seen_ahead
from pytest_dlcheck.faults.comparing.losses_that import first_of
from pytest_dlcheck.faults.comparing.partners import exchanged
from pytest_dlcheck.faults.comparing.teaching import still_targets
from pytest_dlcheck.faults.data.alignment import turned_apart
from pytest_dlcheck.faults.dynamics.exchanged_weights import turned_updates
from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row, Scalar, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Verdict


@dataclass(frozen=True)
class TargetsAreAligned(Check):
    """The targets that a loss sees were loaded with its inputs, and are compared one by one.

    **Why it matters.** With the labels of the batch before, or every output compared with every target,
    the loss still falls a little: to what the targets are on average.

    **How it decides.** On a watched loop, at sampled backward passes, from the graph of the loss:
    torch's losses keep their targets there, and those written out as squares, distances, chosen or
    multiplied logarithms what they are worked out from. Inputs and targets are held against the last
    batches that data loaders gave, by fingerprints; a batch that is found for both must be the same. It
    fails where ``several`` losses and ``some`` of those that can be told have targets of another batch
    only, and where outputs ``[n, 1]`` meet targets ``[n]``, or other numbers in the model, and make
    ``[n, n]``. It fails, too, where ``several`` losses and ``some`` of all have the batch's own targets
    in another order, and neither the inputs nor, by anything in the graph, the outputs were put in one;
    and where a network of weights that are no fresh draw is reached by losses through their targets
    alone, and stepped beside what predicts them; and where the targets are the next words of what the
    model is called on and all attention over these words, by its weights or its mask, lets each place
    see the next, or where a copy of the model, tried after the watch, gives other outputs at every place
    when only its targets are others, or sees the tokens it is to tell; where scores by steps and targets
    by samples are flattened beside each other; where the targets are the words after the next ones;
    where each sample is told by the product of its features with itself; where the logarithms of chosen
    actions are weighed by returns less a critic's values, with gradients, or by what the loop calls
    rewards or returns, perhaps less what was expected, with the sign that makes these rarer, unless the
    loop turned that itself; where of a clipped ratio's bounds the better one counts, or a policy's
    entropy is added to its loss; where a copy that gives targets takes nearly all of the weights at each
    update; where inputs come again in a new order, with targets of others, or never come again and tell
    the labels of the next step, not their own; where all samples of a batch are one, overwritten, and
    their targets are not; and where masks of a tenth of the samples lie on the image mirrored or turned,
    and not as it is, and the model does not turn it so itself. Other gradients into targets are advice:
    a teacher that is not detached, or a loss that is meant so; so are images, or features in a model,
    viewed as another number of rows, square images that a linear layer is called on first, targets that
    are the very tokens that the model is called on, or an input of each sample, or that lie on padding
    and count, a mean over the places that a mask has set to zero, actions that become less likely the
    more they are worth, a term of the loss that is multiplied by zero, values in targets from beyond the
    end of an episode, and a copy of the model that gives targets and is never synchronised.

    **What it cannot see.** Batches that no loader gave (where none gave inputs with targets, it is not
    applicable) or that are changed before the model, targets that are changed before the loss, losses
    that are written out in other ways, and pairs other than masks that were wrong in the data set; of
    what a copy sees of later steps, what comes through fewer numbers, or where a loss has other terms.

    **Source.** The warning of ``torch.nn.functional.mse_loss`` about broadcasting; Karpathy, "A Recipe
    for Training Neural Networks" (2019).
    """

    family: ClassVar[Family] = "loop"
    reads: ClassVar[frozenset[str]] = frozenset({"loop", "comparisons"})
    glances: ClassVar[frozenset[str]] = frozenset(
        {"teachers", "foresight", "copying", "recipe", "data_alignment", "turned_within"}
    )
    shows: ClassVar[Effect | None] = Effect.LOOP
    leads_to: ClassVar[frozenset[Effect]] = frozenset(
        {Effect.PROGRESS, Effect.LEARNING, Effect.GENERALIZATION, Effect.FITTING}
    )
    judges_divergence: ClassVar[bool] = True

    several: int = 3
    """Losses (count) that are no accident."""
    some: float = 0.5
    """Share of the losses that can be told (ratio); one of an older batch beside is sound, in replay."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """The user's own loop."""
        return (terms.watch(),)

    def decide(self, evidence: Evidence) -> Verdict:
        """By the batches, then by the shapes."""
        trace = evidence.the("watch")
        row = trace.row("comparisons")
        looked, wrong = row.integer("looked"), row.integer("misaligned")
        known, crossed = wrong + row.integer("aligned"), row.integer("crossed")
        bound = max(self.several, self.some * known)
        fault = self._fault(as_meant(trace, row), bound)
        fault = fault or seen_ahead(trace) or not_shifted(trace, self.several) or turned_apart(trace)
        if fault := fault or turned_updates(trace.rows("teachers")):
            return self.failed_by(fault)
        advice = [*advice_on(row, trace.row("loop")), *still_targets(trace)]
        story = (
            f"{wrong} of {known} losses have targets of another batch, {crossed} of {looked} broadcast "
            f"shapes (fewer than {bound:g} may)"
        )
        measure = Measure("losses with another batch's targets", wrong, "count", bound, "<")
        if not looked:
            return self.not_applicable("no loss was looked at")
        if not known and not advice and not row.integer("paired"):
            return self.not_applicable(
                "no data loader gave inputs and targets together: there is nothing to hold the losses "
                f"against (0 of {looked}, of which {crossed} broadcast shapes)"
            )
        if not known and not advice:
            return self.inconclusive(f"{story}; where targets come from could not be told", measure)
        return self.passed(story, measure, advice=advice)

    def _fault(self, row: Row, bound: float) -> Fault | None:
        of_all = max(self.several, self.some * row.integer("looked"))
        if row.integer("misaligned") >= bound:
            return faults.of_another_batch(row, bound)
        if found := first_of(row, self.several, self.some):
            return found
        if row.integer("taught"):
            return faults.taught(row)
        different = row.integer("permuted_sets") >= self.several
        if different and row.integer("permuted") >= of_all:
            return faults.in_another_order(row, of_all)
        return exchanged(row, self.several, self.some)

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Aligned; one of an older batch."""
        yield Example("aligned", (_example(),))
        yield Example("two classes by chance", (_example(aligned=12, permuted=12, permuted_sets=1),))
        yield Example("a replayed batch", (_example(aligned=20, misaligned=4, age=1),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Of another batch; broadcast; turned apart."""
        for name, found, site in examples.SICK:
            yield Example(name, (_example(**found),), (site,))
        turned = replace(_example(), facts={**_example().facts, "data_alignment": (examples.MIRRORED,)})
        yield Example("masks left as they were", (turned,), ("data",))


def _example(**found: Scalar) -> Trace:
    row = {"looked": 24, "aligned": 24, "misaligned": 0, "crossed": 0, "moving": 0, "age": None}
    return example_trace(Terms().watch(), loop=Row(steps=24), comparisons=Row({**row, **found}))
