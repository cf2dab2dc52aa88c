"""Data: samples come in an order that has nothing to do with their labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pytest_dlcheck.check import Check, Effect, Evidence, Example, example_trace
from pytest_dlcheck.faults.data import order as faults
from pytest_dlcheck.faults.data.weighting import never_drawn, weighs_classes
from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row, Scalar, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Verdict


@dataclass(frozen=True)
class BatchesAreShuffled(Check):
    """Samples do not come sorted by their labels, and batches are not the same again and again.

    Two samples of a batch have the same label about as often as chance has it, targets do not only rise
    or only fall, a sampler which draws the order draws it anew for every epoch, and its batches differ.

    **Why it matters.** The gradient of a batch of one class points to "always say this": the training
    forgets one class while it learns the next, and BatchNorm normalises by one class's statistics.

    **How it decides.** On batches from all over an epoch, small ones taken together. The agreement of
    labels in them is held against that of a random order (one-sided: too alike), whose standard error
    follows from the labels' frequencies. Fails only if it is both beyond chance and large, where the
    loader takes the data as they come; batches that a batch sampler of your own puts together are
    advice, as is an order that repeats in every epoch, and a series in time. A sampler with a weight per
    class in place of one per sample fails: the other samples are never drawn. On a watched loop: the
    classes that a loader gives in the data set's own order, where each comes in one run in every pass.

    **What it cannot see.** Streams (iterable data sets), whose order is their own, targets that are not
    one number a sample, and an order by something else than the target.

    **Source.** Bengio, "Practical recommendations for gradient-based training", 2012, 3.1 (shuffle);
    join-count statistic: Moran, 1948.
    """

    family = "data"
    reads = frozenset({"data_order"})
    shows = Effect.DATA
    leads_to = frozenset({Effect.STABILITY, Effect.PROGRESS, Effect.LEARNING, Effect.GENERALIZATION})

    errors: float = 5.0
    """Standard errors beyond chance, one-sided: of rare labels, too, fewer than 1 in 1e5 orders reach
    it. The zoo's recipes have at most 2.1."""
    excess: float = 0.3
    """Share of the way from chance to batches of a single label from which on it fails; chosen: ten
    classes, sorted, in batches of a fifth of the data each, have 0.44."""
    outright: float = 0.8
    """The same between neighbours, which sorted data has whatever the batches' size; chosen."""
    single: float = 0.95
    """The share from which on batches hold one label each, which no batch sampler is right to do."""
    slight: float = 0.1
    """The share from which on it then fails; otherwise from here on it is advice."""
    one_way: float = 0.99
    """Share of neighbours in ascending, or in descending, order from which quantities are sorted."""
    near: float = 0.8
    """Rank correlation of neighbours' targets from which to speak of a series; chosen."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """One batch, no training."""
        return (terms.inspect(),)

    def decide(self, evidence: Evidence) -> Verdict:
        """Fail by the first of: one batch, sorted by label, every epoch drawn alike."""
        row = evidence.the("inspect").row("data_order")
        advice = list(self._advice(row))
        fault = next(self._faults(row), None)
        if fault is not None:
            return self.failed_by(fault, advice=advice)
        if row.get("excess") is not None:
            excess = faults.agreement(row, self.excess)
            return self.passed(faults.told(row, self.excess), excess, advice=advice)
        if row.get("one_way") is not None:
            because = (
                f"{row.number('one_way'):.0%} of neighbours are in one order (bound {self.one_way:.0%})"
            )
            return self.passed(because, faults.ascent(row, self.one_way), advice=advice)
        if row.get("same_epochs") is None:
            return self.inconclusive("the targets are not one number a sample, or too few to compare")
        same = Measure("epochs drawn alike", 0, "count", 0)
        return self.passed(
            "0 of 2 epochs are drawn alike (bound 0); no labels to compare", same, advice=advice
        )

    def _faults(self, row: Row) -> Iterator[Fault]:
        yield from filter(None, [weighs_classes(row)])
        if row.integer("epoch_batches") >= 4 and row.integer("distinct_batches") == 1:  # noqa: PLR2004  not two
            yield faults.one_batch(row, 2)
        single = row.number("excess") >= self.single and row.number("errors") >= self.errors
        if single or (self._by_class(row) and not row.flag("own_batches")):
            yield faults.by_class(
                row, self.slight if row.number("excess") < self.excess else self.excess
            )
        if self._sorted(row) and not row.flag("own_batches"):
            yield faults.by_value(row, self.one_way)
        if row.flag("drawn") and row.flag("same_epochs"):
            yield faults.drawn_alike(row)

    def _by_class(self, row: Row) -> bool:
        chance = row.number("chance")
        outright = (row.number("neighbours_agree") - chance) / (1 - chance) >= self.outright
        bound = self.slight if outright else self.excess
        return row.number("errors") >= self.errors and row.number("excess") >= bound

    def _sorted(self, row: Row) -> bool:
        return row.number("one_way") >= self.one_way and row.number("rank_correlation") >= self.one_way

    def _advice(self, row: Row) -> Iterator[str]:
        yield from filter(None, [never_drawn(row)])
        beyond = row.number("errors") >= self.errors and row.number("excess") >= self.slight
        series = row.number("neighbour_correlation") >= self.near and not self._sorted(row)
        if series or (beyond and (row.flag("own_batches") or not self._by_class(row))):
            yield faults.clustered(row)
        if row.flag("same_epochs") and not row.flag("drawn") and not row.flag("told_epochs"):
            yield faults.same_order(row)

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Shuffled; in random order but not shuffled; quantities."""
        yield Example("shuffled", (_trace(),))
        yield Example("in random order", (_trace(in_order=True, drawn=False, same_epochs=True),))
        yield Example(
            "a series in time", (_trace("quantities", one_way=0.6, neighbour_correlation=0.95),)
        )

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Sorted; drawn alike; one batch."""
        runs: dict[str, Scalar] = {"agree": 0.99, "excess": 0.99, "errors": 80.0, "drawn": False}
        yield Example("sorted by label", (_trace(**runs),), ("data",))
        rising: dict[str, Scalar] = {"one_way": 1.0, "rank_correlation": 1.0}
        yield Example("sorted by target", (_trace("quantities", **rising),), ("data",))
        yield Example("seeded while reading", (_trace(same_epochs=True),), ("data",))
        yield Example("one batch", (_trace(distinct_batches=1),), ("data",))


def _trace(kind: Any = "classes", **more: Any) -> Trace:
    known: dict[str, Scalar] = {"sampler": "RandomSampler", "drawn": True, "same_epochs": False}
    batches: dict[str, Scalar] = {"epoch_batches": 23, "distinct_batches": 23}
    labels: dict[str, Scalar] = {"label_kind": kind, "pairs": 1023}
    if kind == "classes":
        labels |= {"agree": 0.11, "chance": 0.1, "excess": 0.01, "errors": 0.6, "neighbours_agree": 0.1}
    return example_trace(Terms().inspect(), data_order=Row({**known, **batches, **labels, **more}))
