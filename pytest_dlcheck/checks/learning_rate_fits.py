"""Learning rate fits: a short range test around the recipe's rate; it suggests one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

from pytest_dlcheck.check import Check, Effect, Evidence, Example, example_trace
from pytest_dlcheck.faults.dynamics import rates as faults
from pytest_dlcheck.faults.dynamics.steps import warms_up
from pytest_dlcheck.faults.readings import update_ratio
from pytest_dlcheck.trace import Ending, Matrix, Series, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Verdict

DECADES = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Multiples of the recipe's learning rate that are tried at first."""


@dataclass(frozen=True)
class LearningRateFits(Check):
    """The recipe's learning rate lies in the range where the training makes progress.

    **Why it matters.** The learning rate decides more than any other setting how fast a network learns;
    what fits depends on model, data, batch size and optimizer: the only way to know is to try.

    **How it decides.** The same short training runs at a hundredth to a hundred times the recipe's
    rates, schedule included, each from the same start; then at the two rates beside the best, or beyond
    the range where the best lies at its rim. Progress is how far the loss on fixed batches falls. Fails
    where the recipe's own rate breaks the training, or lets the loss fall less than ``least_progress``,
    and one lower or at least ``far`` times higher lets it fall by ``clear``; beside one that is less
    than ``nearby`` times lower, only where the loss surely falls less than ``clear``. Everything between
    passes, with the best rate as a measure, and as advice where the recipe's is far behind.

    **What it cannot see.** What is best in the long run: short trainings favour rates a little too high.

    **Source.** Smith, "Cyclical Learning Rates" (2017), 3.3, the range test, by separate trainings: late
    rates of one sweep inherit what its early ones have done.
    """

    family: ClassVar = "tuning"
    reads: ClassVar = frozenset({"loss", "fixed_loss", "learning_rate"})
    glances: ClassVar = frozenset({"update_norm", "parameter_norm"})
    shows: ClassVar = Effect.STABILITY
    leads_to: ClassVar = frozenset(
        {Effect.STABILITY, Effect.SIGNAL, Effect.UPDATES, Effect.FITTING, Effect.PROGRESS}
        | {Effect.LEARNING, Effect.GENERALIZATION}
    )
    judges_divergence: ClassVar = True

    least_progress: float = 0.005
    """Fall of the loss that even a slow training shows (ratio), as in `parameters_update`."""
    clear: float = 0.1
    """Fall of the loss that shows that a rate works (ratio); chosen."""
    far: float = 30.0
    """Factor between rates from which on the recipe's is off by orders of magnitude (ratio)."""
    nearby: float = 10.0
    """Factor (ratio) below which a lower rate may do better by luck: the step between those tried."""
    small_step: float = 3e-5
    """Update over weight (ratio) above which a rate is not called too low; healthy: above 6e-5."""
    behind: float = 0.5
    """Share of the best rate's fall below which a better rate is advised (ratio)."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """A short training at five rates, a decade apart."""
        return tuple(replace(terms.train()[0], learning_rate_scale=scale) for scale in DECADES)

    def look_again(self, verdict: Verdict, evidence: Evidence) -> tuple[Trial, ...]:
        """Beside the best rate, or beyond the range."""
        del verdict
        runs = faults.runs_of(evidence.traces)
        own = evidence.traces[0].trial
        scales = faults.next_scales(runs, DECADES)
        return tuple(replace(own, learning_rate_scale=scale) for scale in scales)

    def decide(self, evidence: Evidence) -> Verdict:
        """The recipe's rate against the best."""
        runs = faults.runs_of(evidence.traces)
        own_trace = next((t for t in evidence.traces if t.trial.learning_rate_scale == 1), None)
        own = next((run for run in runs if run.scale == 1), None)
        if own is None or own_trace is None or len(runs) < len(evidence.traces):
            return self.inconclusive("a training at one of the rates was cut short")
        best = max(runs, key=lambda run: (run.drop.estimate, run.scale == 1))
        if not best.falls(self.clear):
            least = f"{self.clear:.0%} in {own.steps} steps"
            why = f"at none of {len(runs)} learning rates does the loss fall by {least}"
            return self.inconclusive(f"{why}: the rate is not what stops it, or the steps are too few")
        stalls = own.drop.estimate < self.least_progress and own.is_behind(best)
        if stalls and (verdict := self._on_a_stall(own, best, own_trace, len(runs))):
            return verdict
        story, measures = faults.told(own, best, len(runs), self.clear)
        return self.passed(story, *measures, advice=tuple(faults.better(own, best, runs, self.behind)))

    def _on_a_stall(self, own: faults.Run, best: faults.Run, trace: Trace, tried: int) -> Verdict | None:
        if best.scale < 1 and self.nearby * best.scale > 1 and own.drop.high >= self.clear:
            fall = f"{own.drop.low:.0%} to {own.drop.high:.0%} ({self.clear:.0%} would do)"
            return self.inconclusive(f"at lr={own.rate:.1e} the loss falls by {fall}: too noisy to tell")
        if best.scale < 1:
            return self.failed_by(faults.too_high(own, best, tried, self.least_progress))
        if best.scale >= self.far and warms_up(trace):
            return self.inconclusive("the learning rate still rises at the last step: raise steps")
        if best.scale >= self.far and update_ratio(trace) < self.small_step:
            return self.failed_by(faults.too_low(own, best, tried, self.least_progress))
        return None

    def _cut_short(self, evidence: Evidence) -> Verdict | None:
        return super()._cut_short(Evidence(tuple(t for t in evidence.traces if _decides(t))))

    def _non_finite(self, evidence: Evidence) -> str:
        ended = tuple(t for t in evidence.traces if t.ending.kind == "completed")
        return super()._non_finite(Evidence(ended))

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """A rate that is best, and one that is only good."""
        yield Example("best", _example(0.05, 0.2, 0.6, 0.4, -0.5))
        yield Example("slow", _example(0.0, 0.01, 0.1, 0.6, 0.3))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """A rate that breaks the training, one that keeps it from falling, and one far too low."""
        yield Example("diverges", _example(0.2, 0.6, math.nan, math.nan, math.nan), ("optimizer",))
        yield Example("stands still", _example(0.6, 0.2, 0.0, 0.0, 0.0), ("optimizer",))
        yield Example("too low", _example(0.0, 0.0, 0.001, 0.05, 0.6, step=1e-6), ("optimizer",))


def _decides(trace: Trace) -> bool:
    """Whether its ending says something of the recipe, not of a rate that nobody has chosen."""
    return trace.trial.learning_rate_scale == 1 or trace.ending.kind == "not_applicable"


def _example(*drops: float, step: float = 1e-3) -> tuple[Trace, ...]:
    return tuple(_trace(*pair, step) for pair in zip(DECADES, drops, strict=True))


def _trace(scale: float, drop: float, step: float) -> Trace:
    trial = replace(Terms().train()[0], learning_rate_scale=scale)
    steps, broken = tuple(range(20)), math.isnan(drop)
    after = (1 - drop - 0.01, 1 - drop, 1 - drop + 0.01)
    return example_trace(
        trial,
        loss=Series(steps, (math.nan if broken else 1.0,) * 20),
        fixed_loss=Matrix((0, 20), ("a", "b", "c"), ((1.0,) * 3, after)),
        learning_rate=Series(steps, (1e-3,) * 20),
        update_norm=Matrix((0,), ("w",), ((step,),)),
        parameter_norm=Matrix((0,), ("w",), ((1.0,),)),
        ending=Ending("diverged", 3, "the loss became nan") if broken else Ending(),
    )
