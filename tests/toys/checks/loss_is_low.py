"""A toy: the final loss is below 10 nats."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_dlcheck.check import Check, Effect
from pytest_dlcheck.verdict import Measure


@dataclass(frozen=True)
class LossIsLow(Check):
    """The final loss is low."""

    family = "learning"
    reads = frozenset({"loss"})
    shows = Effect.PROGRESS

    highest: float = 10.0

    def trials(self, terms):
        return terms.train()

    def decide(self, evidence):
        runs = evidence.of("train")
        loss = max(run.series("loss")[-1] for run in runs)
        measure = Measure("final loss", loss, "nats", self.highest)
        said = f"the final loss of {len(runs)} seeds is {loss:.4g}, at most {self.highest:g} may it be"
        if loss <= self.highest:
            return self.passed(said, measure)
        return self.failed(said, measure, cause="the loss is scaled", remedy="do not scale it")

    @classmethod
    def healthy(cls):
        return []

    @classmethod
    def sick(cls):
        return []
