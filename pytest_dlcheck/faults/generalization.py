"""Why new data is not predicted, told by how it differs from the training data. Judges nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_dlcheck.faults.learning import Gain, of_row, of_stream
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


@dataclass(frozen=True, slots=True)
class Showing:
    """How a model does on validation and on training data.

    Attributes:
        rows: what was measured, by data (``val``, ``train``) and mode (``eval`` with recalibrated
            normalisation; ``own`` and ``train`` where that looked bad).
        stream: the gain on the batches of the first epoch, before they were trained on.
        early: the accuracy there, in the later half; from 0 to 1 where the task has none.
        confusion: how often each ``(true, predicted)`` class occurred in the validation data.
    """

    rows: Mapping[tuple[str, str], Row]
    stream: Gain | None
    early: Interval
    confusion: Mapping[tuple[int, int], int]

    @classmethod
    def of(cls, trace: Trace) -> Showing:
        """What the trace shows."""
        fresh = trace.row("pairing").integer("fresh_steps")
        series = trace.series("stream_accuracy")
        hits = [v for s, v in zip(series.steps, series.values, strict=True) if s < fresh]
        late = hits[len(hits) // 2 :]
        return cls(
            rows={(r.text("data"), r.text("mode")): r for r in trace.rows("validation")},
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
        if not self.classifies:
            return ""
        counts: dict[int, int] = {}
        for (true, _), count in self.confusion.items():
            counts[true] = counts.get(true, 0) + count
        taken = {
            true: predicted
            for true, predicted in best_renaming(self.confusion).items()
            if true != predicted
            and counts[true] >= FEW
            and self.confusion.get((true, predicted), 0) > MISNAMED * counts[true]
        }
        wrong = sorted(true for true in taken if _returns(true, taken))
        if not wrong:
            return ""
        listed = ", ".join(f"{true} as {taken[true]}" for true in wrong[:5])
        return f"{len(wrong)} classes are taken for one another: {listed}"

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
    if showing.renamed:
        finding, cause = showing.renamed, "validation labels number the classes otherwise"
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


OVERFITTED = "overfitting; more data, augmentation, dropout, weight decay, or an early stop"
OF_A_KIND = "new training data was predicted better: the validation data is of another kind"
_SAME = "apply to val_data what train_data goes through, but for augmentation"
_COMPARE = "compare orientation, order of channels, vocabulary, units; then the sources"
_MODE = "look at normalization_learns, and at what forward does only when not training"


def _words(data: str) -> str:
    return {"val": "validation data", "train": "training data"}[data]
