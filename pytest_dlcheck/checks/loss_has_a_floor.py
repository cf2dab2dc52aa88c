"""The loss has a floor, and that where answers are right: it does not fall without end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import takewhile
from math import isfinite
from typing import ClassVar

from pytest_dlcheck.check import Check, Effect, Evidence, Example, Family, example_trace
from pytest_dlcheck.faults.dynamics import steering
from pytest_dlcheck.faults.dynamics.floor import Fall
from pytest_dlcheck.trace import Row, Series, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Outcome, Verdict

_ADVICE = (
    "the loss falls below zero, ever faster: unless it is a likelihood, the sign of it, or of one of "
    "its terms, is wrong"
)


@dataclass(frozen=True)
class LossHasAFloor(Check):
    """The loss does not fall below zero, ever faster, nor with the scores of the right classes.

    **Why it matters.** A loss with the wrong sign falls beautifully, until the weights overflow. What
    is minimised must have a floor; the negative of a loss has none.

    **How it decides.** On a watched loop, by the medians of the first, the middle and the last
    ``part`` of the losses that are finite: whether the last is below ``-far`` times the size of the
    first (below ``-deep`` where that is ``tiny``), and ``faster`` times as far below the middle as
    that is below the first. It fails where the losses then stop being finite, or where no exponential
    and no logarithm is taken near the loss. Else it is advice: a likelihood has its floor, if far below
    zero, and a Poisson likelihood of large counts nears it ever faster at first.
    A likelihood of continuous data falls below zero too, but ever slower. Objectives that are trained
    against each other, as a GAN's or an actor's and a critic's, need no floor.
    A likeness that is minimised has one, where all is wrong. So it fails where, of the gradients of a
    classifier's scores that were looked at, nearly all steer the right class down, and the answers on
    the last training batches and in the last evaluation are surely rarer than guesses would be right.
    Without these it is advice: complementary labels say what a sample is not. Likewise of what a
    sigmoid gives beside targets of zeros and ones in torch's losses, where a fresh model ends as the
    inverse of these; an overlap with what a loader gave, as of masks, is advice.

    **What it cannot see.** A wrong sign of a loss of anything else that is bounded on both sides (a
    cosine): that is ``learns_from_its_inputs``' and the metrics' business.

    **Source.** Karpathy, "A Recipe for Training Neural Networks" (2019).
    """

    family: ClassVar[Family] = "loop"
    reads: ClassVar[frozenset[str]] = frozenset({"loss", "recipe", "comparisons"})
    glances: ClassVar[frozenset[str]] = frozenset({"steered", "steered_maps"})
    shows: ClassVar[Effect | None] = Effect.FLOOR
    leads_to: ClassVar[frozenset[Effect]] = frozenset(
        {Effect.STABILITY, Effect.UPDATES, Effect.PROGRESS, Effect.GENERALIZATION, Effect.FITTING}
    )
    judges_divergence: ClassVar[bool] = True

    part: float = 0.2
    """Share of the losses (ratio) that a median is taken of."""
    enough: int = 20
    """Losses (count) below which nothing is concluded."""
    at_least: int = 6
    """The same (count) where the losses then stop being finite: it fell fast."""
    far: float = 10.0
    """Depth below zero in sizes of the first loss (ratio); chosen."""
    tiny: float = 0.1
    """Size of a first loss (in its unit) below which it is no measure: differences start at zero."""
    deep: float = 100.0
    """Depth below zero (in the loss's unit) of such a loss; chosen: a difference of energies that is
    held near zero by 0.1 of their squares ends at -5, one by 0.01 at -50."""
    faster: float = 1.5
    """Fall in the second half over that in the first (ratio); what nears a floor stays below 1."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """The user's own loop."""
        return (terms.watch(),)

    def decide(self, evidence: Evidence) -> Verdict:
        """By three medians, then by the gradients of scores."""
        trace = evidence.the("watch")
        if trace.row("recipe").flag("several_objectives"):
            return self.not_applicable("several objectives are trained against each other")
        if trace.row("recipe").flag("maximize"):
            return self.not_applicable("what is trained is maximised, as it was asked for")
        verdict, steered = self._by_three_medians(trace), trace.row("steered")
        maps = trace.row("steered_maps")
        fault = steering.told(steered) or steering.of_maps(maps)
        if verdict.outcome is not Outcome.FAILED and fault is not None:
            return self.failed_by(fault)
        advice = (*steering.advice(steered), *steering.advice_on_maps(maps))
        return replace(verdict, advice=(*verdict.advice, *advice))

    def _by_three_medians(self, trace: Trace) -> Verdict:
        losses = trace.series("loss").values
        fall = Fall.of(losses, part=self.part, enough=self.enough, at_least=self.at_least)
        if fall is None:
            count = sum(1 for _ in takewhile(isfinite, losses))
            return self.inconclusive(f"{count} losses are too few to tell (of {self.enough})")
        floor = -self.far * fall.start if fall.start >= self.tiny else -self.deep
        fault, seen = fall.fault(floor), trace.row("comparisons")
        if not fall.sinks(floor, self.faster):
            return self.passed(fault.because, *fault.measures)
        if not fall.broke and (seen.integer("exponential") or not seen.integer("looked")):
            return self.passed(fault.because, *fault.measures, advice=[_ADVICE])
        return self.failed_by(fault)

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Down to zero; a likelihood far below it, ever slower."""
        yield Example("to zero", (_example([2.3 * 0.95**i for i in range(100)]),))
        yield Example("a density", (_example([2 - 40 * (1 - 0.96**i) for i in range(100)]),))
        meant = Row(_STEERED, down=640, right=300, right_trained=1)
        yield Example("complementary labels", (_example(_FALL, steered=meant),))
        left = Row(_LEFT, began_fresh=False, is_certain=True, ordered_last=0.1)
        yield Example("masks that are unlearned", (_example(_FALL, steered_maps=left),))
        yield Example("a difference", (_example([0.01 - 2e-4 * i**2 for i in range(100)]),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """The negative of a loss."""
        yield Example("the wrong sign", (_example([-2.3 * 1.2**i for i in range(100)]),), ("loss",))
        down = Row(_STEERED, down=640, right=2, right_trained=1)
        yield Example("a likeness that is minimised", (_example(_FALL, steered=down),), ("loss",))
        left = Row(_LEFT, began_fresh=True, is_certain=True, ordered_last=0.02)
        yield Example("an overlap that is minimised", (_example(_FALL, steered_maps=left),), ("loss",))


_FALL = [0.1 * 0.95**i for i in range(100)]
_STEERED = Row(samples=640, classes=10, answered=400, answered_trained=128)
_LEFT = Row(looks=28, ones=13476, zeros=101212, ones_away=13476, zeros_away=101212)


def _example(losses: list[float], **more: Row) -> Trace:
    series = Series(tuple(range(len(losses))), tuple(losses))
    seen, recipe = Row(looked=5, exponential=0), Row(several_objectives=False)
    return example_trace(Terms().watch(), loss=series, recipe=recipe, comparisons=seen, **more)
