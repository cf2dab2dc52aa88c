"""Whether the training can learn a handful of samples by heart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

from pytest_dlcheck.check import Check, Effect, Evidence, Example, Family, example_trace
from pytest_dlcheck.faults.learning import fitting
from pytest_dlcheck.faults.readings import Fit, update_ratio
from pytest_dlcheck.trace import Row, Series, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Suspect, Verdict


@dataclass(frozen=True)
class OverfitsABatch(Check):
    """A few samples can be learned by heart.

    **Why it matters.** A model that cannot fit eight samples will not fit a data set.

    **How it decides.** Up to eight samples (of as many classes as the first batch has), dropout off,
    the schedule's peak rate. Progress counts from the uninformed loss (one output for all samples)
    to the floor (outputs free for each sample, which knows label smoothing, soft and contradicting
    targets), both found by minimising the loss over outputs alone; where that cannot be asked, from
    the first loss to zero. It passes at ``fitted`` progress, or at ``half`` while still falling; it
    fails only below ``some`` where the second half of the steps adds less than ``crawl``, and twice
    the steps, from this and from another seed, do no better. Plain Adam tells the optimizer from the
    rest.

    **What it cannot see.** Whether it generalises; faults of data order, dropout or schedule.
    Objectives that draw random numbers are never failed.

    **Source.** Karpathy, "A Recipe for Training Neural Networks" (2019): overfit one batch.
    """

    family: ClassVar[Family] = "learning"
    reads: ClassVar[frozenset[str]] = frozenset({"loss", "steps", "recipe"})
    glances: ClassVar = fitting.GLANCED
    shows: ClassVar[Effect | None] = Effect.FITTING
    leads_to: ClassVar[frozenset[Effect]] = frozenset(
        {Effect.PROGRESS, Effect.LEARNING, Effect.GENERALIZATION}
    )
    judges_divergence: ClassVar[bool] = True

    fitted: float = 0.8
    """Progress that passes and ends the trial (ratio): far beyond what label frequencies give."""
    half: float = 0.5
    """Progress that passes while the loss still falls (ratio)."""
    some: float = 0.2
    """Progress from which on stagnation is no failure (ratio): bottlenecks leave a floor that is not
    known, and a unit that died at the start leaves some samples out (a healthy SqueezeNet: half)."""
    crawl: float = 0.02
    """Progress over the second half of the steps below which it stagnates (ratio); chosen."""
    stochastic: float = 0.05
    """Noise of the objective at fixed weights beyond which it cannot be told (ratio of the way)."""
    low_rate: float = 1e-6
    """Update per weight and step below which 200 steps move a weight by 0.02 % (ratio)."""
    high_rate: float = 0.1
    """Update per weight and step above which ten steps replace the weights (ratio)."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """One small batch."""
        return (terms.overfit(self.fitted),)

    def look_again(self, verdict: Verdict, evidence: Evidence) -> tuple[Trial, ...]:
        """Plain Adam, and more steps from this and from another start, where it failed."""
        trial = evidence.the("overfit").trial
        longer = replace(trial, steps=2 * trial.steps)
        still = Terms(seed=trial.seed, device=trial.device).inspect()  # what is the loss given?
        others = (replace(trial, optimizer="adam"), longer, replace(longer, seed=trial.seed + 1), still)
        own = evidence.the("overfit").row("recipe").flag("own_loop")  # which brings its optimizer along
        return others[own:] if verdict.failed else ()

    def decide(self, evidence: Evidence) -> Verdict:
        """By progress, and by the trend of the second half."""
        fit = Fit.of(trace := evidence.the("overfit"))
        if trace.ending.kind == "diverged" or fit is None:
            return self.inconclusive("it diverged, or made too few steps to be judged")
        enough = self.half if fit.gained.estimate >= self.crawl else self.fitted
        measure = Measure("progress", fit.progress, "ratio", enough, ">=")
        story = fitting.story(fit, enough)
        if not fit.tells:
            return self.inconclusive(story)
        if fit.progress >= enough:
            return self.passed(story, measure)
        if why := self._why_not_told(fit, update_ratio(trace)):
            return self.inconclusive(f"{story}; {why}", measure)
        return self._stagnation(f"{story}, {fitting.lately(fit, self.crawl)}", fit, trace, evidence)

    def _why_not_told(self, fit: Fit, ratio: float) -> str:
        if fit.progress >= self.some and fit.gained.estimate < self.crawl:
            return "it levels off: at a floor that is not known, or without some of the samples"
        if not fit.rises and fit.learns(self.half, self.crawl):
            return fitting.pace(ratio)
        if fit.noise > self.stochastic:
            return f"at fixed weights it varies by {fit.noise:.0%} of the way: it draws random numbers"
        return ""

    def _stagnation(self, story: str, fit: Fit, trace: Trace, evidence: Evidence) -> Verdict:
        ratio, recipe = update_ratio(trace), trace.row("recipe")
        measure = Measure("progress", fit.progress, "ratio", self.some, ">=")
        if fit.rises and recipe.flag("training_step") and not ratio > self.high_rate:
            return self.inconclusive(f"{story}; it rises: the step's own targets may move", measure)
        starts = [Fit.of(other) for other in evidence.of("overfit")[1:]]
        second = next(iter(evidence.of("overfit", optimizer="adam")), None)
        quicker = fitting.quicker(ratio, trace, second, self.half)
        if any(other and other.learns(self.some, self.crawl) for other in starts):
            why = quicker or "twice the steps, or another seed, get further"
            return self.inconclusive(f"{story}; {why}", measure)
        adam = Fit.of(second) if second else None
        better = adam is not None and adam.progress > fit.progress + self.crawl
        if adam is not None and better and adam.learns(self.half, self.crawl):
            crawls = fit.gained.low > 0 and self.low_rate <= ratio <= self.high_rate
            if crawls or (recipe.flag("scheduler") and not ratio < self.low_rate):
                own = "plain Adam fits it, and the recipe's own optimizer may with more steps"
                return self.inconclusive(f"{story}; {quicker or f'{own}, or its schedule'}", measure)
            at, cause = fitting.optimizer(fit, ratio, trace, self.low_rate, self.high_rate)
            return self.failed(story, measure, suspects=[at], cause=cause, remedy=at.remedy)
        return self.failed(
            story,
            measure,
            suspects=[Suspect("", f"cannot be fitted{', by plain Adam neither' if adam else ''}")],
            cause=fitting.rest(fit, evidence.of("inspect")),
            remedy="look for cut gradients, dead units, a wrong loss, outputs of the wrong range",
        )

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """A quick fit, and a slow one."""
        yield Example("fitted", (_example([2.3 * 0.9**i for i in range(40)]),))
        yield Example("on its way", (_example([2.3 * 0.995**i for i in range(200)]),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Nothing is learned, or only with another optimizer."""
        flat = _example([2.3, *[2.2] * 199])
        yield Example("cannot be fitted", (flat,), ("",))
        adam = replace(flat.trial, optimizer="adam")
        fitted = replace(_example([2.3 * 0.9**i for i in range(40)]), trial=adam)
        yield Example("only Adam fits", (flat, fitted), ("optimizer",))


def _example(losses: list[float]) -> Trace:
    steps = Row(asked=200, loss_floor=0.0, uninformed_loss=2.0, loss_noise=0.0, skipped_by_scaler=0)
    series = Series(tuple(range(len(losses))), tuple(losses))
    recipe = Row(several_objectives=False, optimizer="SGD", scheduler=False)
    return example_trace(Terms().overfit(0.8), loss=series, steps=steps, recipe=recipe)
