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
FEW = 100
"""The same where simple methods find nothing either: iris has 150, of which they predict 0.9."""
PARTLY = 0.3
"""Share of its way that a batch with foreign maps must have covered: they are hard to learn by heart for
a net that sees little of an image at a time, and standing still tells of another fault (ratio)."""
LOOSELY = 3
"""How many times more the model itself may leave open of maps, where the places of an image tell nothing
of theirs: in healthy data they tell 0.3 to 0.95."""
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
        return (
            f"{self.where} the loss is {self.right:.4g} against the right targets and "
            f"{self.crossed:.4g} against those of other samples: a gain of "
            f"{100 * self.share.estimate:.3g} % ({self.share.percent})"
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
NO_BATCH = "whether a small batch is learned by heart is not known"
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
    def reach(self) -> float:
        """The most that inputs may tell of unseen targets (ratio); NaN where it is not known.

        Of the loss; or, where it goes below zero, of what there is to be told of a batch: a likelihood
        without its constant term has no zero that a share of it could be taken from.
        """
        if self.gain is None:
            return math.nan
        most = self.gain.share.high
        if min(self.gain.right, self.gain.crossed) >= 0:
            return most
        steps = self.overfit.row("steps") if self.overfit else Row()
        way = steps.number("uninformed_loss") - steps.number("loss_floor")
        return most * max(abs(self.gain.right), abs(self.gain.crossed)) / way if way > 0 else math.nan

    @property
    def fitting_steps(self) -> int:
        """Steps that it took to learn a batch by heart."""
        return len(self.overfit.series("loss")) if self.overfit else self.train.trial.steps

    @property
    def measured(self) -> bool:
        """Whether inputs that are independent of each other are measurements all the same."""
        return self.relation.number("measured") > HALF

    def rules_out(self, little: float) -> bool:
        """Whether the data surely holds no more than that to be gained (ratio).

        Either the model shows it on many samples, or simple methods do on fewer.
        """
        samples = self.relation.integer("samples")
        if self.gain is None or (self.reach < little and samples >= FEWEST):
            return self.gain is not None
        simple = self.relation.number("explained_high") < little and samples >= FEW
        maps = self.foreign_maps(little) and self.reach < LOOSELY * little
        return simple and (self.relation.flag("whole") or maps)

    def foreign_maps(self, little: float) -> bool:
        """Whether targets are maps of which neither the whole images nor their places tell anything."""
        most = max(self.relation.number("local_high"), self.relation.number("explained_high"))
        return most < little and math.isfinite(self.relation.number("local_high"))

    def why_not_told(self, little: float, unlike: float, alike: float, noise: float) -> str:
        """Why it cannot be told that inputs tell nothing; empty where it can."""
        fit = Fit.of(self.overfit) if self.overfit else None
        rates = self.train.series("learning_rate").values
        warming = len(rates) > 1 and rates[-1] == max(rates) > rates[len(rates) // 2]
        enough = PARTLY if self.foreign_maps(little) else HALF
        unlearned = fit.why_not_by_heart(enough, self.train) if fit else NO_BATCH
        reasons = {
            unlearned: bool(unlearned),
            "so few samples cannot rule it out": not self.rules_out(little),
            f"a small batch alone takes {self.fitting_steps} steps: raise steps": self.fitting_steps
            > self.train.trial.steps / 2
            and not self.foreign_maps(little),
            "the learning rate is still in its warm-up: raise steps": warming,
            "though with other samples' inputs the first epoch goes worse": self.blind is not None
            and excess_of_blind(self.train, self.blind).low > 0,
            NOISE: not self.relation.number("structure") >= noise and not self.measured,
            "near inputs have somewhat alike targets": not self.surprise <= unlike
            and not self.surprise > alike,
            "near inputs have unlike targets, as in a parity": self.surprise < -alike,
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
    if not late.share.high * abs(late.crossed) < bound * abs(early.crossed):
        return None  # the loss has grown, or was next to zero: a smaller share of it is no smaller gain
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


def in_the_data(story: str, look: SecondLook, little: float, constant: float) -> Fault | None:
    """What the inputs show by themselves; None where that is nothing.

    Args:
        story: what was measured.
        look: the second look.
        little: gain that must be ruled out (ratio).
        constant: difference between samples, of their size, below which they are all the same.
    """
    if look.relation.number("spread") < constant:
        return constant_inputs(story, look, little)
    if look.relation.integer("rising") and look.rules_out(little):
        return columns_apart(story, look, little)
    return None


def nothing(story: str, look: SecondLook, little: float, alike: float, noise: float) -> Fault:
    """Why nothing is learned from inputs though a batch is learned by heart."""
    if look.surprise > alike:
        return unused_inputs(story, look, little)
    apart = not look.relation.number("structure") >= noise
    return (columns_apart if apart else foreign_labels)(story, look, little)


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


def columns_apart(story: str, look: SecondLook, little: float) -> Fault:
    """Columns that were each sorted, or shuffled, by itself."""
    count = look.relation.integer("rising")
    finding, how = "its columns are independent of each other, though they are measurements", "shuffled"
    if count:
        finding, how = f"all {count} columns rise together, and tell nothing of the targets", "sorted"
    return Fault(
        because=story,
        measures=(_measure(look, little),),
        suspects=[Suspect("data", f"{finding} ({_alike(look.relation)})")],
        cause=f"the labels do not belong to the inputs: each column was {how} by itself",
        remedy="sort or shuffle rows, by one index for all columns and the labels "
        "(np.argsort, df.sort_values, df.sample), not each column",
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
        cause="what the inputs tell is lost on the way: too much regularisation or noise, or a model "
        "that mixes up samples or places",
        remedy="lower dropout and weight decay, look at augmentation and the schedule; does a sample's "
        "output depend on its own input alone (batch_independence)?",
    )


def _alike(relation: Row) -> str:
    found, chance = relation.number("agreement"), relation.number("by_chance")
    told = f"correlation with the nearest one's {found:.2g}, 0 by chance"
    if relation.flag("labels"):
        told = f"the nearest one has the same label in {found:.0%}, {chance:.0%} by chance"
    most = relation.number("explained_high")
    simple = f"; simple methods predict at most {max(most, 0.0):.1%} of what varies"
    return f"{told}{simple if math.isfinite(most) else ''}"


def _measure(look: SecondLook, bound: float) -> Measure:
    return Measure("gain on unseen data, at most", look.reach, "ratio", bound, ">=")
