"""Parameters update: what receives gradients moves, by a step of a sensible size."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from pytest_dlcheck.check import Check, Effect, Evidence, Example, example_trace
from pytest_dlcheck.faults.dynamics import decay, dryness, schedule, standstill, steps
from pytest_dlcheck.faults.dynamics import update as faults
from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Matrix, Row, Series, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Verdict


@dataclass(frozen=True)
class ParametersUpdate(Check):
    """The training moves its parameters: all that have a gradient, and neither too little nor too far.

    **Why it matters.** A learning rate off by orders of magnitude, updates that half precision rounds
    away, weight decay that eats the weights: all leave a loop that runs and a loss that may even fall.

    **How it decides.** Every bit is compared before and after a short training; nothing may stand still
    that an optimizer holds and a gradient reaches. The size of a step is the norm of the update over the
    norm of the weight, its median over matrices and kernels and over the steps at which the learning
    rate is at least a tenth of its peak. Too small fails below ``least_ratio`` if the loss on fixed
    batches did not move by ``least_progress`` either; too large fails above ``most_ratio`` if the loss
    did not fall by ``least_fall``. Of half-precision parameters, no more than ``lost_share`` of the
    elements may stand still over the whole trial. The weights must not shrink to ``least_weight`` of
    their size under weight decay, nor forget ``most_decay`` of it a step, nor biases and norms alone be
    decayed; the schedule must neither take the rate away nor count epochs and be stepped per batch,
    momentum stays below 1, and not all gradients are 0 while the loss is not. A layer outside is advice,
    a rate that still rises at the end is inconclusive.

    **What it cannot see.** Whether a slow training is too slow for its budget.

    **Source.** Update-to-weight ratio, Karpathy, CS231n notes, "Learning" (about 1e-3 is healthy).
    """

    family: ClassVar = "dynamics"
    reads: ClassVar = frozenset({"gradient_norm", "parameters", "update_norm", "parameter_norm"})
    glances: ClassVar = steps.GLANCED
    shows: ClassVar = Effect.UPDATES
    leads_to: ClassVar = frozenset(
        {Effect.FITTING, Effect.PROGRESS, Effect.LEARNING, Effect.GENERALIZATION}
    )

    least_ratio: float = 1e-5
    """Update over weight (ratio). 50 healthy recipes lie between 5e-5 and 1e-1."""
    least_progress: float = 0.005
    """Share of the loss on fixed batches that a slow training covers (ratio)."""
    most_ratio: float = 1.0
    """Largest update over weight in the first 8 recorded steps (ratio); healthy recipes: below 0.5."""
    least_fall: float = 0.05
    """Share of its first value by which the loss must fall where steps are that large (ratio)."""
    most_decay: float = 0.05
    """Learning rate times weight decay: the share of a weight forgotten a step; usual: 1e-5 to 1e-3."""
    lost_share: float = 0.75
    """Half-precision elements that stand still (ratio); bfloat16, AdamW: 0 at lr 1e-3, 0.85 at 1e-4."""
    least_weight: float = 0.5
    """Norm of the weights at the end over that at the beginning (ratio); healthy: above 0.96."""
    least_reach: float = 1e-3
    """Gradient rms below this share of the median parameter's is a structural zero, such as that of
    a bias before a normalisation, which may stand still (ratio)."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """A short training."""
        return terms.train()

    def decide(self, evidence: Evidence) -> Verdict:
        """Rounding first, then the schedule, steps too small, standstill, decay, and steps too large."""
        return max(map(self._of, evidence.of("train")), key=lambda verdict: verdict.failed)

    def _of(self, trace: Trace) -> Verdict:
        if not (reached := standstill.reached(trace, self.least_reach)):
            none = "0 trainable parameters receive gradients (1 or more expected)"
            return self.failed_by(dry) if (dry := dryness.dries_up(trace)) else self.inconclusive(none)
        if not any(row.flag("changed") for row in trace.rows("parameters")):
            fault, why = standstill.nothing_changed(trace, reached)
            return self.failed_by(fault) if fault else self.inconclusive(why)
        ratios = steps.ratios(trace)
        fault = (
            standstill.rounded(trace, self.lost_share)
            or faults.unforgetting(trace)
            or schedule.misfits(trace)
            or self._too_small(trace, ratios)
            or standstill.stands_still(trace, [row for row in reached if row.integer("optimizers")])
            or decay.found(trace, self.least_weight, self.most_decay)
        )
        return self.failed_by(fault) if fault else self._size(trace, ratios)

    def _too_small(self, trace: Trace, ratios: dict[str, list[float]]) -> Fault | None:
        covered = steps.progress(trace)
        if not ratios or covered is None or abs(covered) >= self.least_progress or steps.warms_up(trace):
            return None
        if (typical := steps.sizes_of(ratios)[0]) < self.least_ratio:
            return faults.too_small(trace, typical, self.least_ratio, covered)
        return faults.damped(trace, covered)

    def _size(self, trace: Trace, ratios: dict[str, list[float]]) -> Verdict:
        if not ratios:
            still = Measure("parameters that never change", 0, "count", 0)
            return self.passed("all parameters with gradients change (0 stand still)", still)
        typical, early = steps.sizes_of(ratios)
        if typical < self.least_ratio and steps.warms_up(trace):
            return self.inconclusive(
                f"the learning rate still rises, and a step moves the weights by {typical:.1e} of "
                f"their norm (at least {self.least_ratio:.0e}): raise steps{schedule.pace(trace)}"
            )
        newton = trace.row("recipe").get("optimizer") == "LBFGS"  # a step of it is a search, far or not
        if early > self.most_ratio and not (newton or steps.falls(trace, self.least_fall)):
            fault = faults.too_large(trace, early, self.most_ratio)
            return self.failed_by(fault, Effect.STABILITY, Effect.SIGNAL)
        return self.passed(
            f"a step moves the weights by {typical:.1e} of their norm "
            f"({self.least_ratio:.0e} to {self.most_ratio:.0e})",
            Measure("update over weight", typical, "ratio", self.least_ratio, ">="),
            Measure("update over weight, largest early", early, "ratio", self.most_ratio),
            advice=faults.oddities(trace, self.least_ratio, self.most_ratio),
        )

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Steps of a thousandth; and very small ones whose loss falls all the same."""
        yield Example("steps of 1e-3", (_example(update=1e-3),))
        yield Example("slow, but moving", (_example(update=1e-6, after=0.9),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """A layer that stands still, a learning rate far too low and far too high, weight decay."""
        yield Example("lr of a group is 0", (_example(update=1e-3, stuck=True),), ("fc1.weight",))
        yield Example("lr too low", (_example(update=1e-7),), ("optimizer",))
        yield Example("lr too high", (_example(update=3.0, after=4.0),), ("optimizer",))
        yield Example("collapse", (_example(update=1e-2, kept=0.01),), ("optimizer", "fc1.weight"))


def _example(*, update: float, after: float = 1.0, stuck: bool = False, kept: float = 1.0) -> Trace:
    names, steps = ("fc1.weight", "fc2.weight"), (0, 1, 2)
    row = Row(shape="(8, 8)", requires_grad=True, optimizers=1, weight_decay=0.0 if kept == 1 else 1.0)
    return example_trace(
        parameters=[Row(row, name=names[0], changed=not stuck), Row(row, name=names[1], changed=True)],
        gradient_norm=Matrix(steps, names, ((0.1, 0.1),) * 3),
        update_norm=Matrix(steps, names, ((0.0 if stuck else update, update),) * 3),
        parameter_norm=Matrix(steps, names, ((1.0, 1.0), (1.0, 1.0), (kept, kept))),
        learning_rate=Series(steps, (0.1,) * 3),
        loss=Series(steps, (1.0, 1.0, after)),
        fixed_loss=Matrix((0, 3), ("batch 0",), ((1.0,), (after,))),
    )
