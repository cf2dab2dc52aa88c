"""Whether what was learned holds for the validation data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from pytest_dlcheck.check import Check, Effect, Evidence, Example, Family, example_trace
from pytest_dlcheck.faults.learning import generalization
from pytest_dlcheck.faults.learning.generalization import Showing
from pytest_dlcheck.faults.learning.learning import Gain
from pytest_dlcheck.trace import Row, Series, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Outcome, Verdict


@dataclass(frozen=True)
class Generalizes(Check):
    """Validation data is predicted better than without looking at it.

    **Why it matters.** Validation data that is prepared otherwise, numbered otherwise or badly joined
    makes every decision wrong that is taken by it.

    **How it decides.** At the end of a short training, in eval mode, with normalisation statistics
    recalibrated, up to 1,000 validation samples spread over the data: their loss against their own
    targets, and against those of other samples, chunk by chunk (Student's t); for classifications also
    the accuracy (Wilson). It passes where the right targets surely fit better. It fails only where new
    *training* data was surely predicted, in the first epoch, and validation data misses ``half`` of that
    gain or accuracy, or is worse while it is scaled otherwise, or has classes that change places; or
    where known data is classified and validation data surely worse than by chance, for such a reason.

    **What it cannot see.** Whether validation data has leaked into training data; how good a longer
    training would get. A gap to the training data is advice.

    **Source.** Wilson, "Probable inference" (1927); Breck et al., "Data validation for ML" (2019).
    """

    family: ClassVar[Family] = "learning"
    reads: ClassVar[frozenset[str]] = frozenset({"loss", "validation"})
    glances: ClassVar[frozenset[str]] = frozenset(
        {"pairing", "pairing_gain", "crossed_loss", "stream_accuracy", "confusion"}
    )
    shows: ClassVar[Effect | None] = Effect.GENERALIZATION

    least: float = 0.005
    """Gain that passes, if it is sure (ratio of the loss against other targets)."""
    half: float = 0.5
    """Share of the gain on new training data that validation data must surely miss to fail (ratio)."""
    worse: float = 0.9
    """Accuracy, against that on new training data, below which data that is scaled otherwise is a
    failure and not advice (ratio)."""
    higher: float = 1.5
    """The same for the loss, against that on training data, where the gain is not sure (ratio)."""
    overfitted: float = 0.15
    """Accuracy on training data less that on validation data from which it is advised on; chosen."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """A short training."""
        return terms.train()

    def decide(self, evidence: Evidence) -> Verdict:
        """By the worst seed."""
        order = (Outcome.NOT_APPLICABLE, Outcome.FAILED, Outcome.INCONCLUSIVE, Outcome.PASSED)
        verdicts = [self._one(trace) for trace in evidence.of("train")]
        return min(verdicts, key=lambda verdict: order.index(verdict.outcome))

    def _one(self, trace: Trace) -> Verdict:
        for fact in ("validation", "pairing"):
            if why := trace.row(fact).text("inapplicable"):
                return self.not_applicable(why)
        showing = Showing.of(trace)
        gain, stream = showing.gain("val"), showing.stream
        if gain is None:
            return self.inconclusive("validation batches hold no two samples to be told apart")
        measure = Measure("gain on validation data", gain.share.estimate, "ratio", self.least, ">=")
        story = f"{gain}{generalization.accuracy(showing)}; {100 * self.least:g} % is asked"
        kept = any(showing.fits("train", mode, self.least) for mode in ("eval", "train"))
        repeats = showing.repeats
        learned = stream is not None and stream.shown(self.least) and kept and not repeats
        if mistaken := showing.mistaken:
            at, cause, remedy = generalization.suspect(showing, self.least)
            return self.failed(
                f"{story}; {showing.accuracy('train').estimate:.0%} of known data are right; {mistaken}",
                measure,
                suspects=[at],
                cause=cause,
                remedy=remedy,
            )
        if learned and stream and self._is_missed(showing, gain, stream):
            at, cause, remedy = generalization.suspect(showing, self.least)
            told = f"{story}; new training data had a gain of {100 * stream.share.estimate:.3g} %"
            return self.failed(told, measure, suspects=[at], cause=cause, remedy=remedy)
        if gain.shown(self.least):
            return self.passed(story, measure, advice=generalization.advice(showing, self.overfitted))
        why = "its samples are too few" if learned else "nor is training data surely predicted"
        return self.inconclusive(
            f"{story}; {repeats or why}", measure, advice=generalization.odd(showing)
        )

    def _is_missed(self, showing: Showing, gain: Gain, stream: Gain) -> bool:
        shown, accuracy = gain.shown(self.least), showing.accuracy("val")
        if not shown and gain.share.high < self.half * stream.share.estimate:
            return True
        chance, early = showing.row("val").number("chance"), showing.early
        half = chance + self.half * (early.low - chance)
        if showing.classifies and (accuracy.high < half or showing.renamed):
            return True
        odd = showing.prepared_otherwise or showing.targets_prepared_otherwise
        higher = showing.row("val").number("loss") > self.higher * showing.row("train").number("loss")
        fewer = showing.classifies and accuracy.high < self.worse * early.low
        return bool(odd) and (fewer or (higher and not shown))

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Predicted as well; predicted worse."""
        yield Example("predicted", (_example(2.0),))
        yield Example("overfitted", (_example(1.0),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Labels of other samples; inputs that were not normalised."""
        yield Example("labels shuffled", (_example(0.0),), ("val_data",))
        yield Example("inputs not normalised", (_example(0.1, mean=128.0),), ("val_data",))


def _example(gain: float, mean: float = 0.0) -> Trace:
    def row(data: str, gain: float, mean: float) -> Row:
        share = int(300 * gain / 2.5)
        counts = {"samples": 300, "points": 20, "classified": 300, "correct": share, "chance": 0.1}
        scale = {"input_mean": mean, "input_deviation": 1.0}
        return Row(
            counts, **scale, data=data, mode="eval", loss=2.3 - gain / 2, gain=gain, gain_error=0.02
        )

    span = tuple(range(20))
    return example_trace(
        loss=Series(span, tuple(2.3 - 0.05 * i for i in span)),
        validation=(row("val", gain, mean), row("train", 2.2, 0.0)),
        pairing=Row(fresh_steps=20, samples=64, moved=0.9),
        pairing_gain=Series(span, tuple(2.0 + 0.05 * (-1) ** i for i in span)),
        crossed_loss=Series(span, (3.0,) * 20),
        stream_accuracy=Series(span, (0.8,) * 20),
    )
