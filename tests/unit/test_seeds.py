"""Which of several seeds a verdict was reached with."""

from __future__ import annotations

import pytest

from pytest_dlcheck.check import Check, Evidence, example_trace
from pytest_dlcheck.seeds import with_seeds
from pytest_dlcheck.trace import Ending, Series
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Outcome


class LossIsLow(Check):
    """A toy: every seed's last loss is below 1."""

    family = "learning"
    reads = frozenset({"loss"})

    def trials(self, terms):
        return terms.train()

    def decide(self, evidence):
        losses = [trace.series("loss")[-1] for trace in evidence.of("train")]
        return self.failed("it is high\nvery") if max(losses) > 1 else self.passed("it is low")

    @classmethod
    def healthy(cls):
        return []

    @classmethod
    def sick(cls):
        return []


def judged(*losses):
    trials = Terms(seeds=len(losses)).train()
    traces = [
        example_trace(trial, ending=Ending("raised", message="no"))
        if loss is None
        else example_trace(trial, loss=Series((0,), (loss,)))
        for trial, loss in zip(trials, losses, strict=True)
    ]
    evidence = Evidence((example_trace(Trial("inspect")), *traces))
    check = LossIsLow()
    return with_seeds(check, check.judge(evidence), evidence)


@pytest.mark.parametrize(
    ("losses", "told"),
    [
        ((2.0,), "it is high\nvery"),
        ((0.5, 2.0, 0.5), "it is high (with seed 1 of 3)\nvery"),
        ((2.0, 0.5, 2.0), "it is high (with seeds 0, 2 of 3)\nvery"),
        ((2.0, 2.0), "it is high (with all 2 seeds)\nvery"),
        ((0.5, 0.5), "it is low"),
    ],
)
def test_the_seeds_that_fail_are_named(losses, told):
    assert judged(*losses).because == told


def test_the_seed_that_raised_is_named():
    verdict = judged(0.5, None)
    assert verdict.outcome is Outcome.ERRORED
    assert verdict.because == "the train trial raised an error: no (with seed 1 of 2)"
