"""A toy gate: the score, which stands in the environment, is as it was before."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from pytest_dlcheck.baseline import NO_BASELINE, Baseline
from pytest_dlcheck.check import Check
from pytest_dlcheck.verdict import Measure


@dataclass(frozen=True)
class ScoreHolds(Check):
    """The score is at least nine tenths of the lowest one before."""

    family = "gate"
    reads = frozenset({"loss"})
    baseline: Baseline = NO_BASELINE

    def under(self, policy, baseline):
        return replace(self, baseline=baseline)

    def trials(self, terms):
        return terms.train()

    def decide(self, evidence):
        score = float(os.environ.get("SCORE", "100"))
        measure = Measure("score", score, "points", samples=(score - 1, score + 1))
        past = [run.value for run in self.baseline.of("score")]
        told = f"score {score:g}, held against {self.baseline.name or 'nothing'}: {past}"
        if self.baseline.notice:
            return self.inconclusive(f"{told}: {self.baseline.notice}", measure)
        if past and score < 0.9 * min(past):
            return self.failed(told, measure)
        return self.passed(told, measure)

    @classmethod
    def healthy(cls):
        return []

    @classmethod
    def sick(cls):
        return []
