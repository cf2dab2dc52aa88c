"""Opponents are opposed: a discriminator tells data from what is made, and a generator hinders it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from pytest_dlcheck.check import Check, Effect, Evidence, Example, Family, example_trace
from pytest_dlcheck.faults.loop.opponents import makes_it_easy, told_the_same
from pytest_dlcheck.trace import Row, Scalar, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Outcome, Verdict


@dataclass(frozen=True)
class OpponentsAreOpposed(Check):
    """In a watched loop, a discriminator is told data from made samples, and its opponent hinders it.

    **Why it matters.** With one label for data and made samples a discriminator learns to say always the
    same, and with the wrong label a generator learns to be found out. Both losses fall to zero, which
    looks like a training that goes well.

    **How it decides.** On a watched loop, in the first steps. A network that one optimizer steps is
    called on data and on what another network made, which another optimizer steps. Hooks on its scores
    hear which way each loss pushes them: gradients below zero push up. Judged are networks that give one
    score for each sample, to binary cross-entropies with labels of exactly 0 and 1, to ``softplus``,
    ``logsigmoid`` and hinges, or to plain means. It fails where in ``several`` steps or more, and all
    that were looked at, scores are pushed the same way by labels on data and on detached samples, while
    who makes these is trained by them, too; and where these are pushed apart, and the loss of who makes
    samples pushes their scores the way that the discriminator's own does.

    **What it cannot see.** Squares, distances, soft labels and losses written out in other ways may push
    scores by where they are, so that a network that has any such is not judged; nor are several scores
    for a sample (classes, patches), scores that a loss uses twice, scores that are pushed both ways at
    once, as by labels that lie in one batch, and opponents that one optimizer steps. Plain means may be
    of what a model returns as its own loss: the same sign for data and made samples is no fault there.

    **Source.** Goodfellow et al., "Generative adversarial nets" (2014); Arjovsky et al., "Wasserstein
    GAN" (2017).
    """

    family: ClassVar[Family] = "loop"
    reads: ClassVar[frozenset[str]] = frozenset({"loop"})
    glances: ClassVar[frozenset[str]] = frozenset({"pushes"})
    shows: ClassVar[Effect | None] = Effect.LOOP
    leads_to: ClassVar[frozenset[Effect]] = frozenset(
        {Effect.PROGRESS, Effect.LEARNING, Effect.GENERALIZATION, Effect.FITTING}
    )
    judges_divergence: ClassVar[bool] = True

    several: int = 3
    """Steps (count) of either side that are no accident: now and then labels are flipped on purpose."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """The user's own loop."""
        return (terms.watch(),)

    def decide(self, evidence: Evidence) -> Verdict:
        """By the discriminator's own losses, then by its opponent's."""
        rows = [r for r in evidence.the("watch").rows("pushes") if r.integer("scores") >= self.several]
        if not rows:
            return self.not_applicable(
                "no network judges data and what another network makes by one score and a label for each"
            )
        for row in rows:
            same = row.integer("data") and row.integer("data") == row.integer("made")
            opposed = row.flag("labelled") and row.integer("scores_for_makers") >= self.several
            if same and opposed:
                return self.failed_by(told_the_same(row))
        told = [
            row for row in rows if row.integer("data") and row.integer("data") == -row.integer("made")
        ]
        for row in told:
            enough = row.integer("scores_for_makers") >= self.several
            if enough and row.integer("making") == row.integer("made"):
                return self.failed_by(makes_it_easy(row))
        measure = Measure("opponents that push one way", 0, "count", 0)
        if not told:
            because = "scores are pushed one way, or now this way and now that, and nobody is opposed"
            return self.inconclusive(because, measure)
        return self.passed("0 opponents push scores the same way (0 may)", measure)

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Opposed; with the labels the other way round; too few steps; a helper; a loss of its own."""
        yield Example("opposed", (_example(),))
        yield Example("data is zero", (_example(data=-1, made=1, making=-1),))
        yield Example("the generator's turn is not seen", (_example(making=0, scores_for_makers=0),))
        alone = _example(made=1, making=0, scores_for_makers=0)
        yield Example("nobody is opposed", (alone,), (), Outcome.INCONCLUSIVE)
        its_own = _example(made=1, labelled=False)
        yield Example("a model that returns its loss", (its_own,), (), Outcome.INCONCLUSIVE)

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """One label for both; the generator's label."""
        yield Example("one label", (_example(made=1),), ("loss",))
        yield Example("the generator's label", (_example(making=-1),), ("loss",))


def _example(**found: Scalar) -> Trace:
    row: dict[str, Scalar] = {"judge": "Critic", "data": 1, "made": -1, "making": 1, "labelled": True}
    pushes = Row({**row, "scores": 3, "scores_for_makers": 3, **found})
    return example_trace(Terms().watch(), loop=Row(steps=48), pushes=pushes)
