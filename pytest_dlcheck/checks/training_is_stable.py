"""Whether the training stays within finite and sensible numbers, and where it breaks first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from pytest_dlcheck.check import Check, Effect, Evidence, Example, Family, example_trace
from pytest_dlcheck.faults.dynamics import breakage, floor
from pytest_dlcheck.faults.dynamics import stability_examples as examples
from pytest_dlcheck.faults.dynamics.explosion import Rise
from pytest_dlcheck.trace import Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Outcome, Verdict

_LOOKED_INTO = ("finite steps", "growth of the loss")
"""Measures whose failure has a place that a second look can find."""


@dataclass(frozen=True)
class TrainingIsStable(Check):
    """Numbers stay finite, and the loss neither explodes nor gives back what it had gained.

    **Why it matters.** A training that breaks late costs what it had cost until then, and the first
    NaN spreads over all weights in one step, which hides where it came from.

    **How it decides.** Fails where the loss or a gradient is not finite (steps that a gradient scaler
    skips excepted, unless it skips most), or where the loss rises ``exploded``-fold, ends no lower
    than it began or had risen that far twice over, and the steps are as large as the weights. Then
    the same seed runs again up to that step with every module, gradient and parameter watched, to
    name the first place that turned finite numbers into others, and to tell a large learning rate
    from a large initialisation or large data. Fails, too, where the loss had fallen by ``learned``,
    ends with ``lost`` of that gone, and the weights have grown ``grown``-fold meanwhile; or where it
    falls below zero ever faster, also in ``longer`` times the steps, and free outputs find no floor.

    **What it cannot see.** What happens after the last step; a rise in small steps, which is
    ``loss_decreases``' business.

    **Source.** Goodfellow et al., "Deep Learning" (2016), 11.5, for the method of looking; ours.
    """

    family: ClassVar[Family] = "dynamics"
    reads: ClassVar[frozenset[str]] = frozenset({"loss", "steps"})
    glances: ClassVar[frozenset[str]] = frozenset(
        {
            *("gradient_norm", "update_norm", "parameter_norm", "breakage"),
            *("optimizer_groups", "fixed_loss", "parameters", "recipe", "batch_fingerprint"),
        }
    )
    shows: ClassVar[Effect | None] = Effect.STABILITY
    leads_to: ClassVar[frozenset[Effect]] = frozenset(
        {Effect.SIGNAL, Effect.FITTING, Effect.PROGRESS, Effect.LEARNING, Effect.GENERALIZATION}
    )
    judges_divergence: ClassVar[bool] = True

    exploded: float = 10.0
    """Rise of the loss against its first value that is called an explosion (ratio)."""
    skipped: float = 0.5
    """Share of steps skipped by the gradient scaler above which it never finds a scale (ratio); its
    search takes about 16 steps."""
    learned: float = 0.3
    """Fall of the loss, of its first value, that counts as something learned (ratio)."""
    lost: float = 0.8
    """Share of that fall (ratio); of 154 healthy recipes, one of reinforcement learning loses more."""
    grown: float = 5.0
    """Growth of the weights (ratio of their norm); healthy recipes: up to 5.1, LBFGS 7.9."""
    fewest: int = 10
    """Steps below which nothing is concluded."""
    longer: int = 4
    """Times the steps (ratio) after which a loss with a floor has slowed down; chosen."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """A short training."""
        return terms.train()

    def look_again(self, verdict: Verdict, evidence: Evidence) -> tuple[Trial, ...]:
        """The same seed with more steps where the loss sinks; up to the step that broke otherwise."""
        if verdict.outcome is Outcome.INCONCLUSIVE:
            return floor.more_steps(evidence.of("train"), self.longer)
        bad = next((t for t in evidence.of("train") if self._one(t, None).failed), None)
        if not verdict.failed or bad is None or not verdict.measures[0].name.startswith(_LOOKED_INTO):
            return ()
        wanted = self.fewest if (step := breakage.broken_at(bad)) is None else step + 2
        return (replace(bad.trial, dense=True, steps=min(bad.trial.steps, wanted)),)

    def judge(self, evidence: Evidence) -> Verdict:
        """By what was run: a longer look that was cut short is none."""
        return super().judge(Evidence(floor.told(evidence.traces)))

    def decide(self, evidence: Evidence) -> Verdict:
        """By the worst seed; localised by the second look."""
        dense = next(iter(evidence.of("train", dense=True)), None)
        asked, longer = floor.looks(evidence.of("train"), evidence.traces)
        verdicts = [self._one(trace, dense, longer.get(trace.trial.seed)) for trace in asked]
        order = (Outcome.FAILED, Outcome.INCONCLUSIVE, Outcome.PASSED)
        return min(verdicts, key=lambda verdict: order.index(verdict.outcome))

    def _one(self, trace: Trace, dense: Trace | None, longer: Trace | None = None) -> Verdict:
        steps, losses = trace.row("steps"), trace.series("loss").values
        skips, asked = steps.integer("skipped_by_scaler"), steps.integer("asked", len(losses))
        if fault := breakage.overflows(skips, asked, self.skipped) or floor.without_floor(trace, longer):
            return self.failed_by(fault)
        if (broken := breakage.broken_at(trace)) is not None:
            story = f"the loss or a gradient is not finite at step {broken} (it must be at all {asked})"
            measure = Measure("finite steps", float(broken), "count", float(asked), ">=")
            return self.failed_by(breakage.named(story, measure, trace, dense))
        open_end = floor.SINKS if longer is None and floor.sinks(trace) else ""
        if len(losses) < self.fewest or open_end:
            return self.inconclusive(f"{len(losses)} steps are too few to tell{open_end}")
        return self._by_its_rise(Rise.of(trace, self.exploded), trace, dense)

    def _by_its_rise(self, rise: Rise, trace: Trace, dense: Trace | None) -> Verdict:
        if rise.is_explosion:
            return self.failed_by(breakage.named(rise.story, rise.measure, trace, dense))
        if fault := breakage.relapse(trace, self.learned, self.lost, self.grown):
            return self.failed_by(fault)
        if rise.is_undecided:
            return self.inconclusive(rise.story, rise.measure)
        rose = "the loss rose steeply in between: a lower learning rate or a warm-up may be better"
        return self.passed(rise.story, rise.measure, advice=[rose] * rise.steep)

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """A smooth fall; a spike that recovers; a loss from zero; energies that sink to their floor."""
        for name, losses in (("smooth", examples.FALL), ("a spike", examples.SPIKE)):
            yield Example(name, (example_trace(**examples.trained(losses)),))
        yield Example("from zero", (example_trace(**examples.trained(examples.FROM_ZERO, ratio=2.0)),))
        yield Example("energies", _twice(examples.ENERGIES))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """An explosion by the learning rate; a logarithm of zero; a wrong sign."""
        rise = example_trace(**examples.trained(examples.RISE, ratio=2.0))
        yield Example("exploded", (rise,), ("optimizer",))
        nan = example_trace(**examples.trained(examples.BREAK, examples.NAN))
        again = replace(nan, trial=replace(nan.trial, dense=True), facts={"breakage": (examples.LOG,)})
        yield Example("log of zero", (nan, again), ("head.log",))
        free = (example_trace(Terms().overfit(0.8), steps=examples.NO_FLOOR),)
        yield Example("a wrong sign", _twice(examples.ENDLESS) + free, ("loss",))


def _twice(losses: Sequence[float]) -> tuple[Trace, ...]:
    return tuple(example_trace(**examples.trained(part)) for part in (losses[:100], losses))
