"""What a training learned from its inputs, read off its traces and told. Thresholds are the check's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.faults.readings import Fit
from pytest_dlcheck.statistics import Interval, interval_of, mean_interval, surely_positive
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.verdict import Measure, Suspect

SURE = 0.998
"""Two-sided confidence of what is taken from the stream: one in a thousand is wrong on either side."""
RATHER_SURE = 0.99
"""The same for held-out data, which is looked at once."""
GLANCED = frozenset(
    {"pairing_gain", "crossed_loss", "learning_rate", "steps", "holdout", "relation", "parameter_norm"}
)
"""Channels and facts that all this is read off, where they were recorded."""
FEWEST = 256
"""Samples in all below which nothing is ruled out: a neighbour's label tells little then; chosen."""
LATE = 4
"""Batches at the end of a training from which it is told what became of what was learned."""
SHRUNK = 0.3
"""Size of all weights at the end, against the beginning, below which they have wasted away (ratio)."""


@dataclass(frozen=True, slots=True)
class Gain:
    """How much better the right targets fit than those of other samples, on data not trained on.

    Attributes:
        share: the gain as a share of the loss against other samples' targets (ratio).
        crossed: that loss, in its own unit.
        right: the loss against the right targets.
        where: what it was measured on, in words.
        signs: whether the single gains are surely more often above zero than below, by their ranks;
            it sees what is learned step by step, where the mean is uncertain.
    """

    share: Interval
    crossed: float
    right: float
    where: str
    signs: bool = False

    def shown(self, least: float) -> bool:
        """Whether inputs surely tell something of their targets."""
        return (self.share.low > 0 or self.signs) and self.share.estimate >= least

    def __str__(self) -> str:
        low, high = 100 * self.share.low, 100 * self.share.high
        return (
            f"{self.where} the loss is {self.right:.4g} against the right targets and "
            f"{self.crossed:.4g} against those of other samples: a gain of "
            f"{100 * self.share.estimate:.3g} % ({low:.3g} to {high:.3g} %)"
        )


def of_stream(trace: Trace) -> Gain | None:
    """The gain on batches of the first epoch, each before it was trained on; None where none was.

    Of all of them, or of the later half, where more had been learned: what shows more surely.
    """
    fresh = trace.row("pairing").integer("fresh_steps")
    gains, crossed = (_before(trace, name, fresh) for name in ("pairing_gain", "crossed_loss"))
    if not gains or not all(map(math.isfinite, (*gains, *crossed))) or not any(crossed):
        return None
    found = [
        _mean_gain(gains[part], crossed[part]) for part in (slice(None), slice(len(gains) // 2, None))
    ]
    return max(found, key=lambda gain: (gain.share.low > 0 or gain.signs, gain.share.estimate))


def at_the_end(trace: Trace) -> Gain | None:
    """The gain at the end of a training of several epochs, on data that it has seen; None before."""
    fresh = trace.row("pairing").integer("fresh_steps")
    gains, crossed = (_from(trace, name, fresh) for name in ("pairing_gain", "crossed_loss"))
    return _mean_gain(gains, crossed) if len(gains) >= LATE and any(crossed) else None


def _mean_gain(gains: Sequence[float], crossed: Sequence[float]) -> Gain:
    mean = fmean(crossed)
    where = f"on {len(gains)} batches of the first epoch, before they were trained on,"
    found = mean_interval(gains, SURE)
    signs = surely_positive(gains, 1 - SURE)
    return Gain(found / max(abs(mean), 1e-30), mean, mean - found.estimate, where, signs)


def _from(trace: Trace, channel: str, step: int) -> list[float]:
    series = trace.series(channel)
    return [value for at, value in zip(series.steps, series.values, strict=True) if at >= step]


def _before(trace: Trace, channel: str, step: int) -> list[float]:
    series = trace.series(channel)
    return [value for at, value in zip(series.steps, series.values, strict=True) if at < step]


def of_row(row: Row, where: str) -> Gain | None:
    """The gain that an evaluation found; None where it could not be taken."""
    gain, loss = row.number("gain"), row.number("loss")
    if not math.isfinite(gain) or not math.isfinite(loss):
        return None
    unit = max(abs(loss + gain), abs(loss), 1e-30)
    found = interval_of(gain, row.number("gain_error"), row.integer("points"), RATHER_SURE)
    return Gain(found / unit, loss + gain, loss, f"{where} ({row.integer('samples')} samples)")


NOISE = "the inputs look like independent random numbers, which tell nothing of any target"
HALF = 0.5
"""Share of its way that an overfitted batch has covered when it counts as learned by heart (ratio)."""


@dataclass(frozen=True, slots=True)
class SecondLook:
    """What further trials showed of a training in which nothing was seen to be learned from inputs.

    Attributes:
        gain: that on batches held out of a training of the same length; None where it is not known.
        relation: what inputs and targets have to do with each other, found out without the model.
        train: the training itself.
        blind: its first epoch with the inputs of other samples.
        overfit: the training on one small batch.
    """

    gain: Gain | None
    relation: Row
    train: Trace
    blind: Trace | None
    overfit: Trace | None

    @classmethod
    def at(cls, train: Trace, traces: Sequence[Trace]) -> SecondLook:
        """Of the traces, those that belong to this training."""
        kin = {t.trial.kind: t for t in traces if t.trial.seed == train.trial.seed}
        holdout = kin.get("holdout", Trace(train.trial))
        row = next((r for r in holdout.rows("holdout") if r["data"] == "unseen"), Row())
        gain = of_row(row, "on held-out batches")
        return cls(gain, holdout.row("relation"), train, kin.get("blind"), kin.get("overfit"))

    @property
    def surprise(self) -> float:
        """How surely near inputs have alike targets, in standard errors."""
        return self.relation.number("surprise")

    @property
    def fitting_steps(self) -> int:
        """Steps that it took to learn a batch by heart."""
        return len(self.overfit.series("loss")) if self.overfit else self.train.trial.steps

    def why_not_told(self, little: float, unlike: float, alike: float, noise: float) -> str:
        """Why it cannot be told that inputs tell nothing; empty where it can."""
        fit = Fit.of(self.overfit) if self.overfit else None
        rates = self.train.series("learning_rate").values
        warming = len(rates) > 1 and rates[-1] == max(rates) > rates[len(rates) // 2]
        reasons = {
            "a small batch is not learned by heart either": fit is None
            or not fit.tells
            or not fit.progress >= HALF,
            "so few samples cannot rule it out": self.gain is None
            or not self.gain.share.high < little
            or self.relation.integer("samples") < FEWEST,
            f"a small batch alone takes {self.fitting_steps} steps: raise steps": self.fitting_steps
            > self.train.trial.steps / 2,
            "the learning rate is still in its warm-up: raise steps": warming,
            "though with other samples' inputs the first epoch goes worse": self.blind is not None
            and excess_of_blind(self.train, self.blind).low > 0,
            NOISE: not self.relation.number("structure") >= noise,
            "near inputs have somewhat alike targets": not self.surprise <= unlike
            and not self.surprise > alike,
        }
        return next((why for why, holds in reasons.items() if holds), "")


def excess_of_blind(train: Trace, blind: Trace) -> Interval:
    """How much higher the loss is with other samples' inputs, step by step over the first epoch."""
    mine = dict(zip(train.series("loss").steps, train.series("loss").values, strict=True))
    other = blind.series("loss")
    pairs = [(mine[s], v) for s, v in zip(other.steps, other.values, strict=True) if s in mine]
    late = pairs[len(pairs) // 2 :]
    unit = abs(fmean(b for _, b in late)) if late else 1.0
    return mean_interval([b - a for a, b in late], SURE) / max(unit, 1e-30)


def foreign_labels(story: str, look: SecondLook, little: float) -> Fault:
    """Labels that do not belong to their inputs."""
    return Fault(
        because=story,
        measures=(_measure(look, little),),
        suspects=[
            Suspect(
                "data",
                f"a batch is learned by heart in {look.fitting_steps} steps, but nothing of it holds "
                "for other samples, and near inputs do not have alike targets either "
                f"({_alike(look.relation)})",
            )
        ],
        cause="the labels do not belong to the inputs, or the inputs tell nothing of them",
        remedy="look at a few samples with their labels: shuffled apart, off by one, a wrong join, "
        "labels of another split; or an augmentation that destroys what they show",
    )


def forgotten(early: Gain, trace: Trace, least: float, kept: float) -> Fault | None:
    """What was learned in the first epoch and is gone by the end; None where it is not.

    Args:
        early: the gain in the first epoch.
        trace: the training.
        least: gain that must surely have been there (ratio).
        kept: share of it that must be left (ratio).
    """
    late, bound = at_the_end(trace), kept * early.share.estimate
    if late is None or not early.share.low > least or not late.share.high < bound:
        return None
    weights = trace.matrix("parameter_norm").values
    sizes = [math.hypot(*(v for v in row if v is not None)) for row in weights]
    left = sizes[-1] / sizes[0] if sizes and sizes[0] > 0 else 1.0
    wasted = left < SHRUNK
    return Fault(
        because=f"{early}; at the end, on data that it knows, it is {100 * late.share.estimate:.2g} % "
        f"(at most {100 * late.share.high:.2g} %; {100 * bound:.2g} % must be left)",
        measures=(Measure("gain at the end, at most", late.share.high, "ratio", bound, ">="),),
        suspects=[
            Suspect(
                "optimizer",
                f"the weights have shrunk to {left:.1%}: weight decay outweighs the gradient"
                if wasted
                else "its steps undo what was learned",
            )
        ],
        cause=f"what was learned is lost again: {'weight decay' if wasted else 'the steps'} too large",
        remedy="lower the weight decay" if wasted else "lower the learning rate, or warm it up",
    )


def constant_inputs(story: str, look: SecondLook, little: float) -> Fault:
    """Inputs that are all the same."""
    return Fault(
        because=story,
        measures=(_measure(look, little),),
        suspects=[
            Suspect(
                "data",
                f"between samples, inputs differ by {look.relation.number('spread'):.1g} of their size",
            )
        ],
        cause="the inputs are the same for all samples",
        remedy="look at what the data set returns: a wrong normalisation, a mask, an overwritten buffer",
    )


def unused_inputs(story: str, look: SecondLook, little: float) -> Fault:
    """Inputs that tell, to a training that does not listen."""
    return Fault(
        because=story,
        measures=(_measure(look, little),),
        suspects=[
            Suspect(
                "",
                f"a nearest neighbour among the raw inputs knows what the model does not "
                f"({_alike(look.relation)}), and a small batch is learned by heart without dropout",
            )
        ],
        cause="the training keeps the model from learning: too much regularisation or noise",
        remedy="lower dropout and weight decay, look at augmentation and the schedule",
    )


def _alike(relation: Row) -> str:
    found, chance = relation.number("agreement"), relation.number("by_chance")
    if relation.flag("labels"):
        return f"the nearest one has the same label in {found:.0%}, {chance:.0%} by chance"
    return f"correlation with the nearest one's {found:.2g}, 0 by chance"


def _measure(look: SecondLook, bound: float) -> Measure:
    most = look.gain.share.high if look.gain else math.nan
    return Measure("gain on unseen data, at most", most, "ratio", bound, ">=")
