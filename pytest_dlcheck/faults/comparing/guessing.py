"""Losses that stay at that of guessing, and outputs that are the same for all samples, in words.

Thresholds are the check's, but for how it is told what is usual.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean

from pytest_dlcheck.faults.data.scaling import at_the_entry
from pytest_dlcheck.faults.dynamics.large_steps import why_too_large
from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.statistics import interval_of, jitter, mean_interval, trend
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.verdict import Measure, Suspect

KNOWN = 8
"""Labels (count) of each class on average from which on their distribution is known."""
LEVEL = 0.01
"""Fall of the second half of the losses (ratio of guessing) below which they stand still."""
NEAR = 0.05
"""How far below that of guessing a loss may end (ratio) that knows nothing, for chance in labels."""


@dataclass(frozen=True)
class Course:
    """How losses went beside guessing.

    Attributes:
        row: what their graphs say.
        losses: all of them.
        step: the largest step up to when the outputs became the same (ratio of the weights).
    """

    row: Row
    losses: tuple[float, ...]
    step: float

    @classmethod
    def of(cls, trace: Trace) -> Course:
        """What the trace shows."""
        row = trace.rows("guesses")[0]
        until = row.integer("same_since") if row.integer("same") else math.inf
        return cls(row, trace.series("loss").values, _largest_step(trace, until))

    @property
    def end(self) -> tuple[float, ...]:
        """The losses of the last fifth."""
        return self.losses[-max(1, len(self.losses) // 5) :]

    @property
    def steps_since(self) -> int:
        """Steps since the outputs are the same for all samples; 0 where they are not."""
        return len(self.losses) - self.row.integer("same_since") if self.row.integer("same") else 0

    @property
    def is_known(self) -> bool:
        """Whether the loss is nothing else, and enough labels were seen to say what guessing costs."""
        row = self.row
        return row.flag("whole") and row.integer("counted") >= KNOWN * max(1, row.integer("labels"))

    @property
    def peak(self) -> float:
        """The largest loss up to when the outputs became the same."""
        return max(self.losses[: self.row.integer("same_since") + 1])

    def has_peaked(self, rise: float) -> bool:
        """Whether the loss rose far above where it began and where it ends, before that."""
        return self.peak > rise * max(self.losses[0], fmean(self.end))

    def ends_at_guessing(self) -> bool:
        """Whether what the losses end with is no better than how often each label comes."""
        return self.is_known and fmean(self.end) >= (1 - NEAR) * self.row.number("entropy")

    def beats_guessing(self) -> bool:
        """Whether the losses surely end below that, by luck of labels; a fall makes it no less sure."""
        if not self.is_known:
            return False
        row, count = self.row, len(self.end)
        labels = row.integer("counted") / row.integer("looked") * count
        error = math.hypot(
            row.number("luck") / math.sqrt(labels), jitter(self.losses) / math.sqrt(count)
        )
        end = interval_of(fmean(self.end), error, len(self.losses))
        return end.high < (1 - NEAR) * row.number("entropy")

    def stays_at_guessing(self) -> bool:
        """Whether they surely end no better than guessing, and fall no more."""
        guess, late = self.row.number("entropy"), self.losses[len(self.losses) // 2 :]
        if not self.is_known or not mean_interval(self.end).estimate >= (1 - LEVEL / 2) * guess:
            return False
        return not -trend(late).estimate > LEVEL * guess


def story(course: Course) -> str:
    """Where the losses end."""
    row, end = course.row, fmean(course.end)
    labels = f"by how often each of {row.integer('labels')} labels comes"
    guessing = f"guessing {labels} costs {row.number('entropy'):.4g}" if course.is_known else "of labels"
    apart = f"scores differ by {row.number('apart'):.2g} from sample to sample in the last losses"
    return f"{len(course.losses)} losses end with {end:.4g}, {guessing}; {apart}"


def collapsed(course: Course, trace: Trace, same: float, large: float) -> Fault:
    """Steps so large that the outputs no longer depend on the inputs."""
    row = course.row
    because = (
        f"the loss is no better than that of guessing: {story(course)} (more than {same:g} should be "
        f"left), and by up to {row.number('apart_before'):.2g} before step {row.integer('same_since')}"
    )
    entry, known = at_the_entry(trace), why_too_large(trace)
    rate = (
        "the learning rate is too high: its steps have broken the model, whose outputs no longer depend "
        "on its inputs"
    )
    usual = (rate, "lower the learning rate, or warm it up")
    cause, remedy = known[1:] if known else (entry.cause, entry.remedy) if entry else usual
    steps = Suspect(
        "optimizer",
        f"a step of {course.step:.2g} of the weights (bound {large:g}) came before, and a loss of "
        f"{course.peak:.3g}; since then the model gives every sample the same",
    )
    return Fault(
        because=because,
        measures=(
            Measure("scores' difference from sample to sample", row.number("apart"), "", same, ">"),
        ),
        suspects=(steps,) if known or entry is None else (*entry.suspects[:1], steps),
        cause=cause,
        remedy=remedy,
    )


def advice(course: Course, *, is_same: bool) -> str:
    """What may be so on purpose, or hard."""
    row = course.row
    if is_same and row.number("apart_before"):
        return (
            f"since step {row.integer('same_since')} the model gives every sample the same: "
            f"{story(course)}: is the learning rate or the weight decay too high, are units dead?"
        )
    same = "; the model gives every sample nearly the same, from the first step on" if is_same else ""
    return (
        f"the loss stays at that of guessing: {story(course)}{same}: do the labels belong to these "
        "samples, are the inputs scaled, does the learning rate fit? A hard problem, or labels drawn at "
        "random, look the same"
    )


def _largest_step(trace: Trace, until: float) -> float:
    updates, weights = trace.matrix("update_norm"), trace.matrix("parameter_norm")
    sizes = [math.hypot(*(w for w in row if w is not None)) for row in weights.values]
    moves = [math.hypot(*(u for u in row if u is not None)) for row in updates.values]
    every = zip(updates.steps, moves, sizes, strict=False)
    ratios = [move / size for step, move, size in every if size > 0 and step <= until]
    return max(filter(math.isfinite, ratios), default=0.0)
