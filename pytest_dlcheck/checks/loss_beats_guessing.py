"""The loss beats guessing: a classifier comes to know more than how often each label comes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from pytest_dlcheck.check import Check, Effect, Evidence, Example, Family, example_trace
from pytest_dlcheck.faults.comparing import guessing
from pytest_dlcheck.faults.comparing.guessing import Course
from pytest_dlcheck.faults.comparing.one_label import ALONE, OneLabel
from pytest_dlcheck.trace import Matrix, Row, Scalar, Series, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Outcome, Verdict


@dataclass(frozen=True)
class LossBeatsGuessing(Check):
    """In a watched loop, a classifier comes to know more than how often each label comes.

    **Why it matters.** Steps that are too large, or inputs that are not scaled, can break a network in
    its first steps so that it gives every sample the same. The loss falls to the entropy of the labels
    (ln 10 for ten classes) and stays there: it neither diverges nor learns.

    **How it decides.** On a watched loop, from the graphs of some losses that hold one cross-entropy of
    torch, for classes or for yes and no: the spread of the scores over samples whose labels differ, and
    the labels seen. It fails where the scores differed before, are the ``same`` for all samples in
    ``fewest`` losses looked at and more, for ``steady`` steps and more, and to the end, the loss ends at
    that of guessing, and steps broke the model: one as ``large`` came before, and the loss had
    ``risen``. The same without such steps is advice (weight decay on labels that nothing tells of does
    it, too), and so is a loss that is no better than guessing after ``long`` steps and more. In fewer
    than ``steady`` steps it passes where the loss surely ends below guessing. It fails, too, where all
    labels looked at are one, in a whole pass, or where in ``seen`` further samples and more no loss was
    as large as another label costs (else it is advice), and the layer that makes the scores is stepped.
    Left out are losses that number the samples of their own batch (contrastive), that are multiplied by
    something else (what an action earned), and objectives that are trained against each other.

    **What it cannot see.** Losses that are written out, with several classifications in one, or in
    compiled code; outputs that dropout, or normalisation over the batch, keeps different; what a
    language model guesses, as too few labels of each kind are seen.

    **Source.** Karpathy, "A recipe for training neural networks" (2019), on the loss of a model that
    knows nothing.
    """

    family: ClassVar[Family] = "loop"
    reads: ClassVar[frozenset[str]] = frozenset({"loop", "recipe", "loss"})
    glances: ClassVar[frozenset[str]] = frozenset(
        {"guesses", "one_label", "update_norm", "parameter_norm", "data_scale", "optimizer_groups"}
        | {"comparisons", "data_order"}
    )
    shows: ClassVar[Effect | None] = Effect.PROGRESS
    leads_to: ClassVar[frozenset[Effect]] = frozenset({Effect.LEARNING, Effect.GENERALIZATION})

    same: float = 1e-3
    """Standard deviation of a score over samples (nats) up to which they are the same: broken networks
    have 1e-5 and less, those on the plateau of a hard problem 0.02 and more."""
    fewest: int = 4
    """Losses looked at (count) in the end that show it: so many are looked at in a row."""
    steady: int = 32
    """Steps (count) for which it lasts; chosen."""
    large: float = 0.15
    """Update over weights (ratio) of a step that breaks a network, as in ``units_are_alive``."""
    risen: float = 1.05
    """Loss at its peak over that at the beginning and the end (ratio); chosen; broken ones had 1.2."""
    seen: int = 2048
    """Samples (count) from which on it is no chance that all labels are one, beside those looked at;
    chosen: of card fraud, which comes in 1.7 of 1,000, so many hold none by a chance of 3 %."""
    long: int = 256
    """Steps (count) from which on it is told that a loss stays where it is; chosen."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """The user's own loop."""
        return (terms.watch(),)

    def decide(self, evidence: Evidence) -> Verdict:
        """By the labels, the outputs, then by where the loss ends."""
        trace = evidence.the("watch")
        if not trace.row("loop").integer("steps"):
            return self.not_applicable("nothing was trained here: no optimizer stepped")
        if trace.row("recipe").flag("several_objectives"):
            return self.not_applicable("several objectives are trained against each other")
        if alone := OneLabel.of(trace, self.fewest):
            return self._of_one_label(alone, trace)
        if not trace.rows("guesses"):
            return self.not_applicable("no loss of classes was seen, or too few of them")
        return self._beside_guessing(trace)

    def _of_one_label(self, alone: OneLabel, trace: Trace) -> Verdict:
        if alone.is_sure(trace, self.seen):
            return self.failed_by(alone.fault())
        return self.inconclusive("all labels looked at are one", advice=[alone.advice()])

    def _beside_guessing(self, trace: Trace) -> Verdict:
        course = Course.of(trace)
        told = guessing.story(course)
        if len(course.losses) < self.steady and not course.beats_guessing():
            return self.inconclusive(f"{told}; fewer than {self.steady} steps do not tell")
        row = course.row
        is_same = row.integer("same") >= self.fewest and course.steps_since >= self.steady
        breaks = row.number("apart_before") > self.same and course.step >= self.large
        if is_same and breaks and course.has_peaked(self.risen) and course.ends_at_guessing():
            return self.failed_by(guessing.collapsed(course, trace, self.same, self.large))
        stays = len(course.losses) >= self.long and course.stays_at_guessing()
        advice = [guessing.advice(course, is_same=is_same)] if is_same or stays else []
        measure = Measure("scores' difference from sample to sample", row.number("apart"), "", self.same)
        return self.passed(f"{told} (more than {self.same:g} should be left)", measure, advice=advice)

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """A loss that falls; one that nothing can be told of; outputs that decay has made the same."""
        yield Example("falls", (_example(_FALL, apart=2.0, same=0, same_since=None),))
        yield Example("random labels", (_example(_FLAT, apart=0.1, same=0, same_since=None),))
        yield Example("decayed", (_example(_FLAT, step=0.01),))
        yield Example("one epoch", (_example(_FALL[:200:10], apart=2.0, same=0, same_since=None),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Broken by its first steps; too few of them to tell."""
        yield Example("steps too large", (_example(_BROKEN),), ("optimizer",))
        yield Example("one label", (_example(_FALL, labelled=ALONE),))
        yield Example("few", (_example(_FALL[:5] * 4),), outcome=Outcome.INCONCLUSIVE)


_FALL = tuple(2.3 * math.exp(-i / 100) for i in range(300))
_FLAT = tuple(2.31 + 0.01 * (-1) ** i for i in range(300))
_BROKEN = (2.4, 3.9, 4.5, 3.0, *_FLAT)


def _example(
    losses: tuple[float, ...], step: float = 0.7, labelled: Row | None = None, **found: Scalar
) -> Trace:
    seen = {"looked": 31, "labels": 10, "counted": 1984, "entropy": 2.3, "luck": 0.1, "whole": True}
    row = Row(seen, **{"apart": 1e-6, "apart_before": 0.3, "same": 29, "same_since": 3, **found})
    span = tuple(range(len(losses)))
    return example_trace(
        Terms().watch(),
        loop=Row(steps=len(losses), fresh_batches=len(losses), loader_length=10),
        recipe=Row(several_objectives=False),
        loss=Series(span, losses),
        guesses=row,
        **({} if labelled is None else {"one_label": labelled}),
        update_norm=Matrix((0, 1), ("a",), ((step,), (step,))),
        parameter_norm=Matrix((0, 1), ("a",), ((1.0,), (1.0,))),
    )
