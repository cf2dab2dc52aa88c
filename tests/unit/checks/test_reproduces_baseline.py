"""A training is held against another commit's or a stored one; a difference is advice or fails."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_dlcheck.baseline import NO_BASELINE, Baseline
from pytest_dlcheck.check import Evidence
from pytest_dlcheck.checks.reproduces_baseline import ReproducesBaseline
from pytest_dlcheck.policy import Policy
from pytest_dlcheck.trace import Series
from pytest_dlcheck.trial import Terms
from pytest_dlcheck.verdict import Outcome

COMMIT = "3f2a1c9d2e5b4a7f8091a2b3c4d5e6f708192a3b"
CHECK = ReproducesBaseline()
(SAME,) = CHECK.healthy()
OURS = SAME.traces[0]
DIFFERENT = next(iter(CHECK.sick())).traces
LATE = replace(OURS, channels={"loss": Series((0, 1), (2.0, 1.5))})


def under(select=None, baseline=NO_BASELINE):
    return CHECK.under(replace(Policy(), select=select), baseline)


def stored(trace):
    return Baseline("main", traces={0: trace.to_json()})


def test_the_other_commit_trains_the_first_seed_alone():
    ours, theirs = CHECK.trials(Terms(seeds=3, against=COMMIT))
    assert theirs == replace(ours, revision=COMMIT)
    assert CHECK.trials(Terms(seeds=3)) == (ours,)


@pytest.mark.parametrize("select", [None, ("accuracy",)])
def test_unasked_a_difference_is_advice(select):
    verdict = under(select).judge(Evidence(DIFFERENT))
    assert verdict.outcome is Outcome.PASSED
    (advice,) = verdict.advice
    assert advice.startswith("training first differs from 3f2a1c9d2e at step 1, in b (gradient norm)")


def test_asked_for_by_its_name_it_fails():
    verdict = under(("reproduces_baseline",)).judge(Evidence(DIFFERENT))
    assert verdict.failed
    assert verdict.sites == ("b",)


def test_a_stored_training_is_held_against():
    same = under(baseline=stored(OURS)).judge(Evidence((OURS,)))
    assert same.because.startswith("training is bit-identical to main")
    other = under(baseline=stored(LATE)).judge(Evidence((OURS,)))
    assert other.advice[0].startswith("training first differs from main at step 1, in the loss")


def test_nothing_to_hold_against_is_not_applicable():
    assert CHECK.judge(Evidence((OURS,))).outcome is Outcome.NOT_APPLICABLE
    verdict = under(baseline=Baseline("main", notice="another machine")).judge(Evidence((OURS,)))
    assert verdict.because == "another machine"


def test_another_device_is_not_applicable():
    there = replace(OURS, trial=replace(OURS.trial, device="cuda"))
    verdict = under(baseline=stored(there)).judge(Evidence((OURS,)))
    assert verdict.outcome is Outcome.NOT_APPLICABLE
    assert "cuda" in verdict.because


def test_a_difference_after_the_first_step_is_looked_at_densely():
    late = Evidence((OURS, replace(LATE, trial=replace(OURS.trial, revision=COMMIT))))
    ours, theirs = CHECK.look_again(CHECK.judge(late), late)
    assert (ours.dense, ours.steps, ours.revision) == (True, 2, "")
    assert theirs == replace(ours, revision=COMMIT)


def test_at_the_first_step_and_without_a_difference_there_is_no_second_look():
    other = replace(OURS, channels={"loss": Series((0, 1), (2.5, 1.5))})
    first = Evidence((OURS, replace(other, trial=replace(OURS.trial, revision=COMMIT))))
    same = Evidence(SAME.traces)
    assert CHECK.judge(first).failed
    assert not CHECK.look_again(CHECK.judge(first), first)
    assert not CHECK.look_again(CHECK.judge(same), same)
