"""Whether the loss falls over a short training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import ClassVar

from pytest_dlcheck.check import Check, Effect, Evidence, Example, Family, example_trace
from pytest_dlcheck.faults.dynamics import undecided
from pytest_dlcheck.faults.dynamics.update import SIZES, flat
from pytest_dlcheck.faults.readings import Fall, Fit, update_ratio
from pytest_dlcheck.trace import Matrix, Row, Series, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Outcome, Suspect, Verdict

TOO_HIGH = "the learning rate is too high"


@dataclass(frozen=True)
class LossDecreases(Check):
    """The loss falls.

    **Why it matters.** Most faults end in a loss that does not.

    **How it decides.** The loss on a few fixed batches before and after (same dropout masks, paired,
    Student's t), and the robust trend (Theil and Sen) of the stream between; never the first step
    against the last. In units of the loss before, or of its largest value where it is below zero.
    Passes if either clearly fell by ``asked``. Fails only if both surely did not, the learning rate
    had left its warm-up, and one small batch cannot be learned by heart either (a second look): a
    model that was trained before, or a hard task, may rest on a plateau.

    **What it cannot see.** Whether it falls fast or far enough.

    **Source.** Sen, "Estimates of the regression coefficient based on Kendall's tau" (1968).
    """

    family: ClassVar[Family] = "dynamics"
    reads: ClassVar[frozenset[str]] = frozenset({"loss", "recipe"})
    glances: ClassVar = SIZES | {"fixed_loss", "learning_rate", "steps", "data_scale"}
    shows: ClassVar[Effect | None] = Effect.PROGRESS
    judges_divergence: ClassVar[bool] = True

    asked: float = 0.01
    """The drop that is asked (ratio of the loss before): 31 of 34 healthy recipes gave more."""
    barely: float = 1e-3
    """A clear drop above this is slow, but no failure (ratio): ten times the steps would do."""
    rise: float = 0.05
    """The rise beyond which the loss is called rising (ratio of the loss before; logarithm)."""
    high_rate: float = 0.1
    """Update per weight and step above which a rise is blamed on the learning rate (ratio)."""
    faded: float = 0.01
    """Median learning rate, against its first, below which its schedule is blamed (ratio)."""
    half: float = 0.5
    """Progress of the second look that proves that the model can learn (ratio)."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """A short training."""
        return terms.train()

    def look_again(self, verdict: Verdict, evidence: Evidence) -> tuple[Trial, ...]:
        """Whether one batch can be learned: the very trial that ``overfits_a_batch`` asks for."""
        trial = evidence.the("train").trial
        return (Terms(seed=trial.seed, device=trial.device).overfit(0.8),) if verdict.failed else ()

    def decide(self, evidence: Evidence) -> Verdict:
        """By the worst seed, and the second look."""
        order = (Outcome.NOT_APPLICABLE, Outcome.FAILED, Outcome.INCONCLUSIVE, Outcome.PASSED)
        verdicts = [self._one(trace) for trace in evidence.of("train")]
        worst = min(verdicts, key=lambda verdict: order.index(verdict.outcome))
        fit = next((Fit.of(trace) for trace in evidence.of("overfit")), None)
        sure = worst.sites[:1] == ("scheduler",) or worst.cause == TOO_HIGH
        if worst.failed and not sure and fit and fit.learns(self.half, self.asked):
            rest = "but one batch can be learned: it may rest on a plateau or floor"
            advice = undecided.advice(evidence.of("train")[verdicts.index(worst)])
            return self.inconclusive(f"{worst.because}; {rest}", *worst.measures, advice=advice)
        return worst

    def _one(self, trace: Trace) -> Verdict:
        if trace.row("recipe").flag("several_objectives"):
            return self.not_applicable("several objectives are trained against each other")
        fall = Fall.of(trace)
        if trace.ending.kind == "diverged" or fall is None:
            return self.inconclusive(trace.ending.message or "too few losses before and after")
        drop, stream = fall.drop, fall.stream
        story = (
            f"the loss on {fall.what} went from {fall.before:.4g} to {fall.after:.4g} "
            f"in {len(trace.series('loss'))} steps: a drop of {100 * drop.estimate:.3g} % "
            f"({drop.percent}; {100 * self.asked:g} % or more is asked)"
        )
        measure = Measure("drop of the loss", drop.estimate, "ratio", self.asked, ">=")
        by_batches = drop.low > 0 and drop.estimate >= self.asked
        if by_batches or (drop.estimate > 0 and stream.low > 0 and stream.estimate >= self.asked):
            advice = "it falls below zero, ever faster: if it should have a floor, its sign is wrong"
            return self.passed(story, measure, advice=[advice] if fall.endless else [])
        slow = drop.low > 0 and drop.estimate >= self.barely and not self._faded(trace)
        why = "too slow, too noisy, or no loss that falls" if slow or fall.noisy else ""
        why = fall.why_hidden(self.asked, self.rise) or why
        rates = trace.series("learning_rate").values[1:]
        warming = len(rates) > 1 and rates[-1] == max(rates) > rates[-2]
        why = "the learning rate is still in its warm-up" if warming else why
        if why:
            return self.inconclusive(f"{story}; {why}", measure, advice=undecided.advice(trace))
        return self._not_falling(story, measure, trace)

    def _faded(self, trace: Trace) -> bool:
        rates = trace.series("learning_rate").values
        return bool(rates) and median(rates) < self.faded * rates[0]

    def _not_falling(self, story: str, measure: Measure, trace: Trace) -> Verdict:
        recipe, ratio, climbs = trace.row("recipe"), update_ratio(trace), measure.value < -self.rise
        site, finding, cause, remedy = flat(trace)
        if self._faded(trace):
            site, finding = "scheduler", "the learning rate is close to zero by half"
            cause, remedy = "the schedule ends the training early", "step it per epoch, not per step"
        elif climbs and ratio > self.high_rate and not recipe.flag("maximize"):
            site, finding = "optimizer", f"its updates are {ratio:.2g} of the weights a step"
            cause, remedy = TOO_HIGH, "lower the learning rate"
        elif climbs and recipe.flag("training_step") and not recipe.flag("maximize"):
            return self.inconclusive(f"{story}; the step's own targets may move", measure)
        elif climbs:
            site, finding = "optimizer", f"the loss rises in steps of {ratio:.1g} of the weights"
            cause, remedy = "the steps climb: maximize=True, or a wrong sign", "turn the sign"
        return self.failed(story, measure, suspects=[Suspect(site, finding)], cause=cause, remedy=remedy)

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """A clear fall, and a slow one."""
        yield Example("falls", (_example(2.3, 0.7),))
        yield Example("falls slowly", (_example(0.70, 0.66),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """It stays; it rises; the schedule has ended."""
        yield Example("stays", (_example(2.3, 2.3),), ("",))
        yield Example("rises", (_example(2.3, 9.0),), ("optimizer",))
        yield Example("fades", (_example(2.3, 2.3, fading=0.5),), ("scheduler",))


def _example(first: float, last: float, fading: float = 1.0) -> Trace:
    span = tuple(range(100))
    losses = tuple(first + (last - first) * i / 99 + 0.02 * (-1) ** i for i in span)
    rows = tuple(tuple(value + 0.002 * i for i in range(4)) for value in (first, last))
    return example_trace(
        loss=Series(span, losses),
        fixed_loss=Matrix((0, 100), tuple(f"batch {i}" for i in range(4)), rows),
        learning_rate=Series(span, tuple(0.1 * fading**i for i in span)),
        recipe=Row(several_objectives=False),
    )
