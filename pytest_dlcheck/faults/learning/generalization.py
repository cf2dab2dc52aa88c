"""Why new data is not predicted, told by how it differs from the training data. Judges nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_dlcheck.faults.learning.learning import Gain, of_row, of_stream
from pytest_dlcheck.statistics import Interval, best_renaming, share_interval
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.verdict import Suspect

FAR = 0.5
"""Difference of input means, in standard deviations of the training data's, that tells of another
preparation (ratio)."""
WIDER = 1.5
"""Ratio of the inputs' standard deviations, either way, that tells of another preparation."""
MISNAMED = 0.5
"""Share of a class that must be taken for one other class before its name is doubted (ratio)."""
FEW = 5
"""Samples of a class below which its name is not doubted."""
CERTAIN = 0.998
"""Two-sided confidence of an accuracy below chance where nothing else was shown."""


@dataclass(frozen=True, slots=True)
class Showing:
    """How a model does on validation and on training data.

    Attributes:
        rows: what was measured, by data (``val``, ``train``) and mode (``eval`` with recalibrated
            normalisation; ``own`` and ``train`` where that looked bad).
        stream: the gain on the batches of the first epoch, before they were trained on.
        early: the accuracy there, in the later half; from 0 to 1 where the task has none.
        epoch: samples of the first epoch, at most.
        confusion: how often each ``(true, predicted)`` class occurred in the validation data.
    """

    rows: Mapping[tuple[str, str], Row]
    stream: Gain | None
    early: Interval
    confusion: Mapping[tuple[int, int], int]
    epoch: int = 0

    @classmethod
    def of(cls, trace: Trace, fact: str = "validation") -> Showing:
        """What the trace shows.

        Args:
            trace: of a training.
            fact: whose rows tell how many answers were right.
        """
        fresh = trace.row("pairing").integer("fresh_steps")
        series = trace.series("stream_accuracy")
        hits = [v for s, v in zip(series.steps, series.values, strict=True) if s < fresh]
        late = hits[len(hits) // 2 :]
        return cls(
            epoch=fresh * trace.row("pairing").integer("samples"),
            rows={(r.text("data"), r.text("mode")): r for r in trace.rows(fact)},
            stream=of_stream(trace),
            early=_share(late, trace.row("pairing").integer("samples")),
            confusion={
                (r.integer("true"), r.integer("predicted")): r.integer("count")
                for r in trace.rows("confusion")
            },
        )

    def row(self, data: str, mode: str = "eval") -> Row:
        """One row; empty where it was not measured."""
        return self.rows.get((data, mode), Row())

    def gain(self, data: str, mode: str = "eval") -> Gain | None:
        """The gain there; None where it is not known."""
        return of_row(self.row(data, mode), f"on {_words(data)}")

    def accuracy(self, data: str, mode: str = "eval") -> Interval:
        """The accuracy there, after Wilson; from 0 to 1 where the task has none."""
        row = self.row(data, mode)
        return share_interval(row.integer("correct"), row.integer("classified"))

    def fits(self, data: str, mode: str, least: float) -> bool:
        """Whether inputs surely tell something of their targets there."""
        gain = self.gain(data, mode)
        return gain is not None and gain.shown(least)

    @property
    def classifies(self) -> bool:
        """Whether the outputs name classes: new training data surely was classified beyond chance.

        Embeddings beside labels (ArcFace, prototypes) look like logits and are none.
        """
        return self.early.low > self.row("val").number("chance")

    @property
    def prepared_otherwise(self) -> str:
        """How the inputs of validation and training data differ as a whole; empty where they do not."""
        return self._differ("input", "inputs")

    @property
    def targets_prepared_otherwise(self) -> str:
        """How numbers to be predicted differ as a whole; empty where they do not, or are classes."""
        return self._differ("target", "targets")

    @property
    def renamed(self) -> str:
        """Which classes are consistently taken for one another, in a ring; empty where none are."""
        return self._ring() if self.classifies else ""

    def _ring(self, share: float = MISNAMED, few: int = FEW) -> str:
        counts: dict[int, int] = {}
        for (true, _), count in self.confusion.items():
            counts[true] = counts.get(true, 0) + count
        taken = {
            true: predicted
            for true, predicted in best_renaming(self.confusion).items()
            if true != predicted
            and counts[true] >= few
            and self.confusion.get((true, predicted), 0) > share * counts[true]
        }
        wrong = sorted(true for true in taken if _returns(true, taken))
        if not wrong:
            return ""
        listed = ", ".join(f"{true} as {taken[true]}" for true in wrong[:5])
        return f"{len(wrong)} classes are taken for one another: {listed}"

    @property
    def repeats(self) -> str:
        """That training samples come again and again, so that none is new; empty where they do not."""
        row = self.row("train")
        read = min(row.integer("samples"), self.epoch)
        if not row.integer("distinct") or row.integer("distinct") > read / 2:
            return ""
        return f"only {row.integer('distinct')} of {read} training samples differ"

    @property
    def renumbered(self) -> str:
        """Which classes other names fit surely better, whatever was learned early; empty where none.

        Known training data must be classified, and most of the validation data be right by other names.
        """
        found, known, chance = self._surely()
        classes, count = len({true for true, _ in self.confusion}), self.row("val").integer("classified")
        names = best_renaming(self.confusion)
        renamed = sum(self.confusion.get(pair, 0) for pair in names.items())
        surely = share_interval(renamed, count, CERTAIN).low
        most = surely > max((known.estimate + chance) / 2, found.high)
        return self._ring(0, 1) if self._knows and most and count >= FEW * classes else ""

    @property
    def mistaken(self) -> str:
        """That classes are renumbered, or inputs prepared otherwise with less right than by chance.

        Below chance alone is not enough: what was learned by heart may well contradict what is left out
        (sums, parities).
        """
        found, _, chance = self._surely()
        below = self._knows and found.high < chance
        return self.renumbered or (self.prepared_otherwise if below else "")

    @property
    def _knows(self) -> bool:
        _, known, chance = self._surely()
        return known.low > (1 + chance) / 2

    def _surely(self) -> tuple[Interval, Interval, float]:
        """Accuracy on validation and on training data, and the least that chance gives."""
        val, train = self.row("val"), self.row("train")
        classes = max(2, len({true for true, _ in self.confusion}))
        found = share_interval(val.integer("correct"), val.integer("classified"), CERTAIN)
        known = share_interval(train.integer("correct"), train.integer("classified"), CERTAIN)
        return found, known, min(val.number("chance"), 1 / classes)

    def _differ(self, of: str, name: str) -> str:
        val, train = self.row("val"), self.row("train")
        mean, deviation = train.number(f"{of}_mean"), train.number(f"{of}_deviation")
        other, spread = val.number(f"{of}_mean"), val.number(f"{of}_deviation")
        if not deviation > 0 or not spread >= 0:
            return ""
        far = abs(other - mean) > FAR * deviation
        wider = spread > WIDER * deviation or deviation > WIDER * max(spread, 1e-30)
        if not far and not wider:
            return ""
        return (
            f"validation {name} have the mean {other:.3g} and the standard deviation {spread:.3g}, "
            f"training {name} {mean:.3g} and {deviation:.3g}"
        )


def _returns(start: int, taken: Mapping[int, int]) -> bool:
    """Whether following who is taken for whom leads back to where it began."""
    at = taken.get(start)
    for _ in taken:
        if at is None or at == start:
            break
        at = taken.get(at)
    return at == start


def _share(accuracies: Sequence[float], samples: int) -> Interval:
    total = sum(accuracies) * samples
    if not math.isfinite(total):
        return Interval(math.nan, 0.0, 1.0)
    return share_interval(round(total), len(accuracies) * samples)


def suspect(showing: Showing, least: float) -> tuple[Suspect, str, str]:
    """What is to blame that validation data is not predicted though new training data is.

    Returns:
        The suspect, the cause, and the remedy.
    """
    if ring := showing.renamed or showing.renumbered:
        finding, cause = (
            ring,
            "validation labels are mapped differently: they number the classes otherwise",
        )
        remedy = "use one list of classes for both"
    elif showing.prepared_otherwise:
        finding, remedy = showing.prepared_otherwise, _SAME
        cause = "validation inputs are prepared otherwise than training inputs"
    elif showing.targets_prepared_otherwise:
        finding, remedy = showing.targets_prepared_otherwise, _SAME
        cause = "validation targets are scaled otherwise than training targets"
    elif not showing.fits("train", "eval", least) and showing.fits("train", "train", least):
        finding = "in eval mode, the training data itself is predicted no better than by chance"
        return Suspect("", finding), "the eval mode, not the validation data", _MODE
    elif showing.fits("val", "eval", least):
        finding, remedy = "it is predicted, but far worse than new training data", _COMPARE
        cause = "validation inputs are arranged otherwise, or the data is of another kind"
    elif showing.fits("val", "train", least):
        finding, remedy = "in train mode, which normalises by the batch, it is predicted", _SAME
        cause = "validation inputs have another scale than training inputs"
    else:
        finding = "its inputs have the scale of the training data's, its labels do not fit"
        cause = "validation labels do not belong to their inputs, or the data is of another kind"
        remedy = "look at a few validation samples with their labels"
    return Suspect("val_data", finding), cause, remedy


def accuracy(showing: Showing) -> str:
    """How many are right, as an addition; empty where the task has no classes."""
    if not showing.classifies and not showing.mistaken:
        return ""
    found, chance = showing.accuracy("val"), showing.row("val").number("chance")
    limits = f"{found.low:.1%} to {found.high:.1%}"
    return f"; {found.estimate:.1%} are right ({limits}; chance {chance:.1%})"


def odd(showing: Showing) -> list[str]:
    """That validation data looks otherwise as a whole."""
    differs = showing.prepared_otherwise or showing.targets_prepared_otherwise
    return [f"{differs}: are both prepared alike?"] if differs else []


def advice(showing: Showing, gap: float) -> list[str]:
    """What is to be thought of where validation data is predicted.

    Args:
        showing: how the model does.
        gap: accuracy on training data less that on validation data from which it is told of (ratio).
    """
    if differs := odd(showing):
        return differs
    val, train = showing.accuracy("val"), showing.accuracy("train")
    if not showing.row("val").integer("classified") or train.low - val.high <= gap:
        return []
    if showing.repeats:
        return [f"{showing.repeats}; what they teach does not carry far"]
    known = OF_A_KIND if val.high < showing.early.low else OVERFITTED
    return [
        f"{train.estimate:.0%} of training, {val.estimate:.0%} of validation data are right: {known}"
    ]


OVERFITTED = "overfitting; more data, augmentation, dropout, weight decay, or an early stop"
OF_A_KIND = "new training data was predicted better: the validation data is of another kind"
_SAME = "apply to val_data what train_data goes through, but for augmentation"
_COMPARE = "compare orientation, order of channels, vocabulary, units; then the sources"
_MODE = "look at normalization_learns, and at what forward does only when not training"


def _words(data: str) -> str:
    return {"val": "validation data", "train": "training data"}[data]
