"""Batches are fresh: the loop moves on through its data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from pytest_dlcheck.check import Check, Effect, Evidence, Example, Family, example_trace
from pytest_dlcheck.faults.batches import redrawn, reseeding, slices
from pytest_dlcheck.faults.batches.edits import edited_again
from pytest_dlcheck.faults.batches.restarts import advice_on_a_loader, begun_anew, one_of_several
from pytest_dlcheck.faults.data.weighting import never_drawn, weighs_classes
from pytest_dlcheck.trace import Row, Series, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Verdict


@dataclass(frozen=True)
class BatchesAreFresh(Check):
    """The loop trains on its data set, not on one batch of it.

    **Why it matters.** ``next(iter(loader))`` inside the loop begins the data anew at every step, and
    without shuffling that is the same batch for ever: the loss falls, and nothing is learned.

    **How it decides.** By a fingerprint of what the model is called on, at sampled steps, never between
    neighbours (SAM, GANs and PPO use one several times). It fails where ``enough`` steps all saw one
    batch although the loader was begun anew at every one of them, or where no more than half as many
    batches differ as would if each first batch were drawn by lot. So it does for one of several loaders,
    unshuffled, if it trains. One batch that was read once is advice, unless the model is validated
    several times; so is a loader of several batches that is begun anew at every step, or for one used
    for several. The same rows cut by hand from a tensor, while most are never used, are advice too, as
    is one batch while ``enough`` others of its size are asked about. The same batch, put together anew
    in every step of rows out of order in an array of five such, while nothing holds the rows or their
    numbers, is advice, and fails where a seed was heard, or where the step's own code makes or seeds a
    generator for what it calls a batch, means no few rows (few-shot, client), and the model is asked
    about as many others, without gradients. It fails where reading samples edits what the data set has
    stored of them, in two passes, and the second change begins where the first has ended. And where a
    ``WeightedRandomSampler`` has fewer than a tenth as many weights as there are samples, and they
    differ: one per class, not per sample. Others that leave out many are advice. So does a global
    generator (torch, numpy, python) that is seeded with the same number in most steps, ``enough`` in a
    row, and drawn from before their backward; with one batch, or seeded within a forward, it is advice.

    **What it cannot see.** Which samples are in a batch; data that is no tensor argument; slices that
    are copied, as to another device, or cut once before the loop; edits in a loader's workers, without
    a loader, or of whole arrays at once; seeds of ``torch.Generator`` objects, and several in one step.

    **Source.** PyTorch forum threads on ``next(iter(loader))``.
    """

    family: ClassVar[Family] = "loop"
    reads: ClassVar[frozenset[str]] = frozenset({"loop", "batch_fingerprint"})
    glances: ClassVar[frozenset[str]] = frozenset(
        {"edited", "exposure", "phases", "redrawn", "reseeded", "restarted", "slices", "weighted_draws"}
    )
    shows: ClassVar[Effect | None] = Effect.LOOP
    leads_to: ClassVar[frozenset[Effect]] = frozenset({Effect.GENERALIZATION, Effect.LEARNING})
    judges_divergence: ClassVar[bool] = True

    enough: int = 8
    """Recorded steps (count) on one and the same batch that are no accident."""
    anew: float = 0.9
    """Batches that began a pass over a loader, of all that were read (ratio)."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """The user's own loop."""
        return (terms.watch(),)

    def decide(self, evidence: Evidence) -> Verdict:
        """By distinct fingerprints, and by how the loader is read."""
        trace = evidence.the("watch")
        if fault := next(edited_again(trace.rows("edited")), None):
            return self.failed_by(fault, Effect.STABILITY, Effect.PROGRESS)
        weighted, begun = trace.row("weighted_draws"), trace.rows("restarted")
        if fault := weighs_classes(weighted) or one_of_several(begun, self.enough, self.anew):
            return self.failed_by(fault)
        row, prints = trace.row("loop"), trace.series("batch_fingerprint").values
        seen, distinct = len(prints), len(set(prints))
        measure = Measure("distinct batches", distinct, "count", 2, ">=")
        story = f"{distinct} distinct batches in {seen} recorded steps (2 or more should be)"
        if seen < self.enough:
            return self.inconclusive(f"only {seen} steps were recorded, {self.enough} are needed")
        again = reseeding.worst(trace.rows("reseeded"), self.enough)
        by_hand = slices.told(trace.rows("slices"), row.integer("steps"), self.enough)
        if fault := begun_anew(row, distinct, seen, enough=self.enough, anew=self.anew):
            return self.failed_by(fault)
        if fault := redrawn.drawn_alike(trace, again, seen=seen, distinct=distinct, enough=self.enough):
            return self.failed_by(fault)
        advice = redrawn.advice_on_one(trace, by_hand, self.enough) if distinct == 1 else []
        advice = list(filter(None, [*advice, never_drawn(weighted), reseeding.advice(again)]))
        by_step = trace.series("batch_fingerprint")
        advice += advice_on_a_loader(trace, by_step, enough=self.enough, anew=self.anew)
        return self.passed(story, measure, advice=advice) if distinct > 1 or advice else self._full(seen)

    def _full(self, seen: int) -> Verdict:
        return self.not_applicable(
            f"all {seen} recorded steps see all the data there is, as far as is known"
        )

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Batches that change; one batch that was read once."""
        yield Example("fresh", (_example(_FRESH, 20, 2),))
        yield Example("one batch, overfitted", (_example([1.0] * 20, 1, 1),))
        cut = Row(looked=20, rows=50, of=1000, asked=0)
        yield Example("the first rows", (_example([1.0] * 20, 0, 0, loop=_BY_HAND, slices=cut),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Begun anew at every step; edited by reading."""
        yield Example("next(iter(loader))", (_example([1.0] * 20, 20, 20),), ("data",))
        seeded = _example([i // 5 for i in range(20)], 20, 20)
        yield Example("next(iter(loader)) of a loader with a seed", (seeded,), ("data",))
        adds_up = Row(
            given=True, drift=0.02, first=1.0, size=0.1, name="Faces.images", rows=64, passes=2
        )
        noisy = _example(_FRESH, 20, 2, edited=adds_up)
        yield Example("noise added in place", (noisy,), ("data",))
        few = Row(weights=10, weighted=10, weighted_samples=1000, uneven=True, weighted_by="a sampler")
        drawn = _example(_FRESH, 20, 2, weighted_draws=few)
        yield Example("a weight per class", (drawn,), ("data",))
        begun = Row(begun=20, length=9, compared=19, trained=19, others=1, steps=20)
        stream = Row(loader_length=0, loader_batches=20, loader_passes=20, loader_ended=0)
        yield Example(
            "next(iter(loader)) of a stream", (_example([1.0] * 20, 0, 0, loop=stream),), ("data",)
        )
        second = _example(_FRESH, 40, 21, restarted=begun)
        yield Example("next(iter(loader)) of a second loader", (second,), ("data",))
        again = Row(call="torch.manual_seed(0)", line="train.py:31", alike=20, in_a_row=20, steps=20)
        same, anew = {"alike": 9, "rows": 64, "of": 25}, {"anew": True, "others": 300}
        for how, found, more in (("seeded", same, {"reseeded": again}), ("made", same | anew, {})):
            alike = _example([1.0] * 20, 0, 0, loop=_BY_HAND, redrawn=Row(found), **more)
            yield Example(f"a generator {how} in every step", (alike,), ("data",))
        noise = _example(_FRESH, 20, 2, reseeded=again)
        yield Example("seeded in every step", (noise,), ("train.py:31",))


_FRESH = [float(i) for i in range(20)]
_BY_HAND = Row(loader_length=0, loader_batches=0, loader_passes=0, steps=60, fresh_batches=0)


def _example(prints: list[float], batches: int, passes: int, **more: Row) -> Trace:
    read = {"loader_batches": batches, "loader_passes": passes, "fresh_batches": batches}
    row = Row(read, steps=20, loader_length=16)
    series = Series(tuple(range(len(prints))), tuple(prints))
    return example_trace(Terms().watch(), **{"loop": row, "batch_fingerprint": series, **more})
