"""A toy: a batch is learned a tenth of the way."""

from __future__ import annotations

from pytest_dlcheck.check import Check, Effect
from pytest_dlcheck.verdict import Measure


class BatchIsLearned(Check):
    """A batch is learned a tenth of the way."""

    family = "learning"
    reads = frozenset({"loss"})
    shows = Effect.FITTING

    def trials(self, terms):
        return (terms.overfit(0.1),)

    def decide(self, evidence):
        steps = len(evidence.the("overfit").series("loss"))
        return self.passed(f"{steps} steps, of at most 200", Measure("steps", steps, "count", 200))

    @classmethod
    def healthy(cls):
        return []

    @classmethod
    def sick(cls):
        return []
