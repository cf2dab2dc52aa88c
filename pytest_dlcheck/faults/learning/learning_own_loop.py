"""What a recipe's own loop learned from its inputs: held against itself with those of other samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.faults.learning.learning import FEWEST, HALF, NO_BATCH, NOISE, excess_of_blind
from pytest_dlcheck.faults.readings import Fit
from pytest_dlcheck.statistics import Interval
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.verdict import Measure, Suspect

CLEAR = 0.05
"""How much higher the loss must be with other samples' inputs (ratio): two trainings on targets that
have nothing to do with inputs differ by up to 0.022 over 100 steps, right ones by 0.12 to 0.95 (seven
loops in plain PyTorch on digits, tumours and diabetes, six of them with three seeds)."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """An own loop beside itself with other samples' inputs, the same ones all along.

    Attributes:
        excess: how much higher the loss is with them, over the later half of the steps (ratio).
        relation: what inputs and targets have to do with each other, found out without the model.
        train: the loop's own trace.
        overfit: the loop's on one small batch.
    """

    excess: Interval
    relation: Row
    train: Trace
    overfit: Trace | None

    @classmethod
    def at(cls, train: Trace, traces: Sequence[Trace]) -> Comparison:
        """Of the traces, those that belong to this training; nothing is sure without them."""
        kin = {t.trial.kind: t for t in traces if t.trial.seed == train.trial.seed}
        blind = kin.get("blind", Trace(train.trial))
        if not all(map(math.isfinite, (*train.series("loss"), *blind.series("loss")))):
            blind = Trace(train.trial)
        overfit = next((t for t in traces if t.trial.kind == "overfit"), None)
        return cls(excess_of_blind(train, blind), blind.row("relation"), train, overfit)

    @property
    def is_clear(self) -> bool:
        """Whether inputs surely tell something of their own targets."""
        return self.excess.low > 0 and self.excess.estimate >= CLEAR

    def why_not_told(self, little: float, unlike: float, noise: float) -> str:
        """Why it cannot be told that inputs tell nothing; empty where it can."""
        fit = Fit.of(self.overfit) if self.overfit else None
        steps = len(self.overfit.series("loss")) if self.overfit else 0
        unlearned = fit.why_not_by_heart(HALF, self.train) if fit else NO_BATCH
        reasons = {
            "it was not run with them": math.isinf(self.excess.high),
            unlearned: bool(unlearned),
            f"a small batch alone takes {steps} steps: raise steps": steps
            > len(self.train.series("loss")) / 2,
            "it differs somewhat": not self.excess.high < little or self.excess.estimate >= CLEAR,
            "so few samples cannot rule it out": self.relation.integer("samples") < FEWEST,
            NOISE: not self.relation.number("structure") >= noise,
            "near inputs do have alike targets": not self.relation.number("surprise") <= unlike,
        }
        return next((why for why, holds in reasons.items() if holds), "")

    def __str__(self) -> str:
        return (
            "with the inputs of other samples the loop's loss is "
            f"{100 * self.excess.estimate:.3g} % higher in the later half of its steps "
            f"({self.excess.percent})"
        )

    @property
    def measure(self) -> Measure:
        """The excess, with what is asked."""
        return Measure(
            "loss with other inputs, above its own", self.excess.estimate, "ratio", CLEAR, ">="
        )

    def foreign_labels(self) -> Fault:
        """Labels that do not belong to their inputs, or a loop that gives them to others."""
        steps = len(self.overfit.series("loss")) if self.overfit else 0
        return Fault(
            because=f"{self}; {100 * CLEAR:g} % are asked",
            measures=(self.measure,),
            suspects=[
                Suspect(
                    "data",
                    f"a batch is learned by heart in {steps} steps, but its own inputs serve no better "
                    "than those of other samples, and near inputs do not have alike targets either",
                )
            ],
            cause="the labels do not belong to the inputs, or the inputs tell nothing of them",
            remedy="look at a few samples with their labels, as the loop sees them: shuffled apart, off "
            "by one, a wrong join, labels of another split",
        )
