"""Data: what is validated on has not been trained on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pytest_dlcheck.check import Check, Effect, Evidence, Example, example_trace
from pytest_dlcheck.faults.data import overlap as faults
from pytest_dlcheck.trace import Row, Scalar, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Outcome, Verdict


@dataclass(frozen=True)
class SplitsDoNotOverlap(Check):
    """The validation data holds no training samples.

    No more validation samples are also in the training data than chance and a duplicate or two explain.

    **Why it matters.** Otherwise a model is praised for what it remembers: a leak of a tenth lifts the
    accuracy of a model that has learned nothing by about as much, and hides overfitting.

    **How it decides.** By where samples come from, if the data sets say so (indices of one data set's
    subsets, names of files, rows of shared memory), which sees through augmentation; and by equal
    inputs: of all samples of tensors, of about a thousand otherwise. Data of few distinct values repeat
    by nature: what counts is the rate above that at which samples of one side repeat among themselves,
    unless a single number tells most samples apart, so that equal ones are copies.
    Near duplicates, of floating inputs, are validation samples 8 times nearer to a training sample than
    the usual nearest neighbour within training; more than ``near`` of them fail. Says how small an
    overlap the samples could have shown.

    **What it cannot see.** Frames of one video or windows of one series, which are as near to each other
    within training; strongly augmented copies; samples of one person or place on both sides, or equal
    samples that random augmentation makes differ, where the data sets do not tell where samples come
    from.

    **Source.** Kapoor and Narayanan, "Leakage and the reproducibility crisis", 2023 (L1.1, L1.4); Barz
    and Denzler, "Do we train on test data?", 2020: 3.3 % of CIFAR-10's test set are such duplicates.
    """

    family = "data"
    reads = frozenset({"data_overlap"})
    shows = Effect.DATA
    leads_to = frozenset({Effect.GENERALIZATION})

    overlap: float = 0.05
    """Share of validation samples in the training data, above the rate of natural repetition, from which
    on it fails: what Deepchecks allows in "train test samples mix"; CIFAR has 3 to 10 % near ones."""
    sure: float = 3.0
    """Standard errors by which the share must exceed that rate: samples of few distinct values are
    shared by chance, some more in one split than in another. A false alarm in 700."""
    near: float = 0.2
    """Share of validation samples much nearer to a training sample than training samples are to each
    other, above the rate within either side, from which on it fails; less is advice. Chosen."""
    fewest_near: int = 10
    """Such samples that there must be; chosen."""
    fewest: int = 5
    """Samples that must be shared: a duplicate or two is life."""
    repeats: float = 0.5
    """Share of repeated training samples from which on equal inputs tell nothing; chosen."""
    power: float = 0.5
    """Smallest overlap (ratio) that must have been visible for a pass; chosen."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """One batch, no training."""
        return (terms.inspect(),)

    def decide(self, evidence: Evidence) -> Verdict:
        """By origin first, then by content."""
        found = evidence.the("inspect").rows("data_overlap")
        rows = [row for row in found if row.text("by") != "nearness"]
        close = [row for row in found if row.text("by") == "nearness"]
        advice = [
            faults.some(row)
            for row in rows
            if faults.is_trusted(row) and faults.is_beyond_chance(row, self.sure)
        ]
        for row in rows:
            bound = max(self.overlap, self.sure * faults.error(row))
            is_more = faults.share(row) - faults.natural(row) > bound
            if is_more and row.integer("matches") >= self.fewest and faults.is_trusted(row):
                return self.failed_by(faults.overlap(row, self.overlap + faults.natural(row)))
        for row in (row for row in close if row.integer("matches") >= self.fewest_near):
            if faults.nearly_shared(row) > self.near:
                return self.failed_by(faults.near(row, self.near))
            if faults.nearly_shared(row) > self.overlap:
                advice += [faults.some_near(row)]
        if not rows:
            return self.inconclusive(
                "samples could not be compared one by one (1 way is needed, 0 were)"
            )
        row = min(rows, key=faults.visible)
        if faults.visible(row) > self.power:
            return self.inconclusive(
                f"{row.integer('matches')} matches among {faults.compared(row)}: less than an overlap "
                f"of {min(1.0, faults.visible(row)):.0%} could not have shown (at most "
                f"{self.power:.0%} may stay hidden)"
            )
        if faults.natural(row) > self.repeats and faults.share(row) > self.overlap:
            return self.inconclusive(
                f"{faults.natural(row):.0%} of training samples repeat among themselves (bound "
                f"{self.repeats:.0%}): equal inputs tell nothing"
            )
        return self.passed(
            f"{faults.share(row):.1%} of validation samples are in the training data (bound "
            f"{self.overlap + faults.natural(row):.0%}): {faults.compared(row)}; an overlap of "
            f"{faults.visible(row):.2g} would have shown",
            faults.measure(row, self.overlap + faults.natural(row)),
            advice=advice[:1],
        )

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Apart; a duplicate; natural repetition."""
        yield Example("apart", (_trace(),))
        yield Example("two duplicates", (_trace(matches=2, first_val=3, first_train=70),))
        yield Example("few distinct inputs", (_trace(matches=120, repeated=0.3),))
        chance = _trace(matches=204, repeated=0.51, val_repeated=0.5)
        yield Example(
            "few distinct inputs, by chance a little more", (chance,), (), Outcome.INCONCLUSIVE
        )

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Cut from training, by content and by indices; training itself."""
        at: dict[str, Scalar] = {"first_val": 0, "first_train": 0}
        yield Example("cut from training", (_trace(matches=200, **at),), ("data",))
        noisy = _trace(matches=200, by="nearness", val_repeated=0.0, usual=1.2, closest=0.08, **at)
        yield Example("noisy copies", (noisy,), ("data",))
        drawn = _trace(matches=150, repeated=0.5, val_repeated=0.5, continuous=True, distinct=60, **at)
        yield Example("oversampled, then split", (drawn,), ("data",))
        own = _trace(matches=360, by="indices", confirmed=True, same_object=True, **at)
        yield Example("the same data", (own,), ("data",))


def _trace(**more: Scalar) -> Trace:
    sizes: dict[str, Scalar] = {"samples": 360, "total": 360, "train_samples": 1437, "train_total": 1437}
    known: dict[str, Scalar] = {"by": "content", "matches": 0, "repeated": 0.0, "val_repeated": 0.1}
    return example_trace(Terms().inspect(), data_overlap=Row({**sizes, **known, **more}))
