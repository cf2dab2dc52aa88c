"""The schedule is sane: the learning rate arrives, and outlives the training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from pytest_dlcheck.check import Check, Effect, Evidence, Example, Family, example_trace
from pytest_dlcheck.faults.dynamics.stepping import epochs_as_batches, milestones_of_epochs, swinging
from pytest_dlcheck.faults.loop.pacing import (
    batches_as_epochs,
    begins_with_nothing,
    of_another_optimizer,
    pacing_advice,
    rates_as_factors,
)
from pytest_dlcheck.faults.loop.plateau import wrong_way, wrong_way_advice
from pytest_dlcheck.trace import Row, Series, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Suspect, Verdict


@dataclass(frozen=True)
class ScheduleIsSane(Check):
    """The learning rate begins with the training, and does not end before it.

    **Why it matters.** A schedule meant per epoch and stepped per batch is through its decay within a
    few dozen batches; the rest of the training does nothing. One meant per batch and stepped per epoch
    stays where its warm-up begins.

    **How it decides.** On a watched loop, by the learning rate of every step. It fails where more than
    ``rest`` of the steps, the last ones, run below ``gone`` of the peak. A rate that still rises at the
    end, as in a warm-up longer than what was watched, is inconclusive. Tenfold drops, restarts and a
    cosine that ends at zero are legal. It fails, too, where a scheduler that counts epochs is stepped
    per batch: a cosine that swings several times and is shorter than a pass, or as long as there are
    epochs and no whole passes (else it is advice), or two tenfold drops within the first pass, or in
    a tenth of all steps, if the last were late among the epochs (one is advice). And it fails where a
    schedule as long as there were batches is stepped once per epoch, and where so the first epochs,
    ``rest`` of the steps, have no rate at all. A warm-up that is far from its goal is advice, and so is
    a length that may fit by chance: the loop was ended, or had a single epoch; and so is a scheduler
    that was built and never stepped, in several epochs. One that sets the rate of an optimizer that
    another one has replaced fails too, and so does a ``LambdaLR`` under which the largest rate is the
    square of the optimizer's own. And so does a ``ReduceLROnPlateau`` that cuts the rate while what it
    is told improves: shares of the samples just evaluated that rise under ``min``, the training loss,
    or one beside it, that falls under ``max``.

    **What it cannot see.** Schedules of what is not the learning rate, and rates kept in tensors on an
    accelerator.

    **Source.** The PyTorch documentation of ``torch.optim.lr_scheduler``: which schedulers are stepped
    per epoch, and which per batch.
    """

    family: ClassVar[Family] = "loop"
    reads: ClassVar[frozenset[str]] = frozenset({"learning_rate"})
    glances: ClassVar[frozenset[str]] = frozenset(
        {"loop", "schedule", "recipe", "optimizer_groups", "plateaus", "loss"}
    )
    leads_to: ClassVar[frozenset[Effect]] = frozenset({Effect.UPDATES, Effect.PROGRESS})
    judges_divergence: ClassVar[bool] = True

    gone: float = 1e-4
    """Share of the peak rate (ratio) below which nothing is learned: four tenfold drops."""
    rest: float = 0.3
    """Share of the steps (ratio) that no schedule spends there on purpose; a cosine to zero spends 0.6 %
    of its steps there, a polynomial decay of power 2 about 1 %."""
    several: int = 2
    """Steps of a scheduler for an optimizer that steps no more (count) that are no accident."""
    enough: int = 20
    """Steps (count) below which a schedule does not show."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """The user's own loop."""
        return (terms.watch(),)

    def decide(self, evidence: Evidence) -> Verdict:
        """By the steps after which the rate never comes back."""
        rates = evidence.the("watch").series("learning_rate").values
        if len(rates) < self.enough:
            return self.inconclusive(f"{len(rates)} steps are too few to see a schedule ({self.enough})")
        trace = evidence.the("watch")
        fault = epochs_as_batches(trace) or batches_as_epochs(trace)
        fault = fault or of_another_optimizer(trace, self.several) or rates_as_factors(trace)
        fault = fault or wrong_way(trace)
        if fault := fault or begins_with_nothing(trace, self.rest):
            return self.failed_by(fault)
        peak = max(rates)
        last = next((i for i in range(len(rates) - 1, -1, -1) if rates[i] > self.gone * peak), -1)
        share = 1 - (last + 1) / len(rates)
        measure = Measure("steps after the learning rate has ended", share, "ratio", self.rest)
        story = (
            f"the last {share:.0%} of {len(rates)} steps ran below {self.gone:g} of the peak learning "
            f"rate {peak:.3g} (at most {self.rest:.0%})"
        )
        if share > self.rest:
            return self.failed(
                story,
                measure,
                suspects=[
                    Suspect("scheduler", f"from {peak:.3g} to {rates[-1]:.2g} by step {last + 1}")
                ],
                cause="the schedule is stepped too often: per batch, though it counts epochs",
                remedy="call scheduler.step() once per epoch, or give it the number of batches",
            )
        if rates[-1] == peak > rates[0] and rates[-1] > rates[-2]:
            return self.inconclusive(f"{story}; it is still in its warm-up, watch more steps", measure)
        advice = [*pacing_advice(trace), *swinging(trace), *milestones_of_epochs(trace)]
        advice += wrong_way_advice(trace)
        return self.passed(story, measure, advice=advice)

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Constant; dropped tenfold three times; ended at zero."""
        yield Example("constant", (_example([0.1] * 50),))
        yield Example("dropped", (_example([0.1 * 0.1 ** (i // 30) for i in range(120)]),))
        yield Example("to zero", (_example([0.1 * (1 - i / 50) for i in range(51)]),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Through its decay early."""
        yield Example(
            "per batch", (_example([0.1 * 0.1 ** (i // 5) for i in range(100)]),), ("scheduler",)
        )
        rates = [0.1 * 0.1 ** min(2, i // 10) for i in range(100)]
        stepped = Row(schedulers=1, steps=100, name="MultiStepLR", horizon=20)
        drops = _example(rates, loop=Row(steps=100, loader_length=50), schedule=stepped)
        yield Example("milestones of epochs", (drops,), ("scheduler",))
        slow = Row(schedulers=1, steps=4, name="OneCycleLR", horizon=100)
        loop = Row(steps=100, loader_length=25, loader_passes=4)
        cycle = _example([4e-3 + 1e-5 * (i // 25) for i in range(100)], loop=loop, schedule=slow)
        yield Example("a cycle of batches", (cycle,), ("scheduler",))
        squared = _example(
            [9e-6 * (1 - i / 60) for i in range(50)],
            schedule=Row(schedulers=1, steps=50, name="LambdaLR"),
            optimizer_groups=Row(optimizer=0, lr=9e-6, initial_lr=3e-3),
        )
        yield Example("a rate as a factor", (squared,), ("LambdaLR",))
        told = [Row(mode="min", number=i / 10, step=8 * i, cut=i > 1, of=20) for i in range(3, 10)]
        loss = Series(tuple(range(72)), tuple(2 - i / 40 for i in range(72)))
        cut = _example([0.1 * 0.9 ** (i // 8) for i in range(72)], plateaus=told, loss=loss)
        yield Example("an accuracy under min", (cut,), ("ReduceLROnPlateau",))


def _example(rates: list[float], **facts: Row | list[Row] | Series) -> Trace:
    series = Series(tuple(range(len(rates))), tuple(rates))
    return example_trace(Terms().watch(), learning_rate=series, **facts)
