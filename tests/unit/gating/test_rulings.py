"""Thresholds and regressions: what holds, what fails, what stays open, and what cannot be told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_dlcheck.baseline import Past
from pytest_dlcheck.gating.claim import Assumed, Claim
from pytest_dlcheck.gating.conclusion import holm
from pytest_dlcheck.gating.readings import Reading
from pytest_dlcheck.gating.regression import AgainstCommit, AgainstPast
from pytest_dlcheck.gating.spending import Look
from pytest_dlcheck.gating.threshold import Threshold


def accuracy(*shares, samples=10_000, margin=0.01, shift=0, steady=False):
    """A claim of an accuracy, one share per seed; steady where all seeds miss the same examples."""
    readings = []
    for seed, share in enumerate(shares):
        wrong, first = round((1 - share) * samples), shift + (0 if steady else seed)
        right = bytes(not first <= i < first + wrong for i in range(samples))
        found, losses = sum(right) / samples, (float(shift), float(seed))
        readings.append(Reading(seed, found, samples, samples, right=right, order="a", losses=losses))
    return claim("accuracy", readings, margin, ">=")


def claim(metric, readings, margin, sense):
    return Claim(
        metric=metric,
        is_share=metric == "accuracy",
        readings=readings,
        margin=margin,
        sense=sense,
        look=Look(len(readings), 1, 5, 0.05),
        assumed=Assumed(1_000, 0.02, 2),
    )


def error(*values, sense="<=", margin=0.01, points=50, spread=0.001):
    """A claim of some other metric."""
    readings = [Reading(seed, v, 1_000, error=spread, points=points) for seed, v in enumerate(values)]
    return claim("mae", readings, margin, sense)


@pytest.mark.parametrize(
    ("claimed", "bound", "state"),
    [
        (accuracy(0.99), 0.95, "holds"),
        (accuracy(0.80), 0.95, "fails"),
        (accuracy(0.955), 0.95, "open"),
        (accuracy(0.955, 0.956, 0.954, 0.955), 0.95, "holds"),
        (accuracy(0.935, 0.936, 0.934, 0.935), 0.95, "fails"),
        (error(2.0), 3.0, "holds"),
        (error(4.0), 3.0, "fails"),
        (error(2.95), 3.0, "open"),
        (error(4.0, sense=">="), 3.0, "holds"),
        (error(2.0, sense=">="), 3.0, "fails"),
    ],
)
def test_a_threshold(claimed, bound, state):
    ruling = Threshold(claimed, bound).rule()
    assert ruling.state == state, ruling.because
    assert ruling.measure.bound == bound
    assert ruling.measure.samples == claimed.values
    assert f"{bound:.4g}" in ruling.because


@pytest.mark.parametrize(
    ("claimed", "bound", "told"),
    [
        (accuracy(0.955, 0.956, 0.954, 0.955), 0.952, "must be >= 0.952, the lower end >= 0.942"),
        (accuracy(0.99), 0.95, "must be >= 0.95"),
        (error(2.98, 2.98, 2.98, 2.98, margin=0.06), 2.99, "must be <= 2.99, the upper end <= 3.05"),
        (error(2.0), 3.0, "must be <= 3"),
    ],
)
def test_what_holds_by_its_margin_says_so(claimed, bound, told):
    ruling = Threshold(claimed, bound).rule()
    assert ruling.state == "holds", ruling.because
    assert ruling.because.endswith(f"; {told}")


def test_ten_samples_cannot_show_it_and_are_told_how_many_can():
    ruling = Threshold(accuracy(1.0, samples=10), 0.95).rule()
    assert ruling.state == "unknown"
    assert "cannot show 0.95 with 10 samples" in ruling.because
    needed = int(ruling.because.rpartition(" ")[2].replace(",", ""))
    assert Threshold(accuracy(*[1.0] * 5, samples=2 * needed), 0.95).rule().state == "holds"
    assert Threshold(accuracy(*[1.0] * 5, samples=needed // 2), 0.95).rule().state == "unknown"


def test_ten_samples_can_show_that_it_is_surely_missed():
    assert Threshold(accuracy(0.2, samples=10), 0.95).rule().state == "fails"


def test_a_point_estimate_below_the_threshold_never_holds():
    ruling = Threshold(accuracy(*[0.9499] * 5, margin=0.05), 0.95).rule()
    assert ruling.state == "open"
    assert "all 5 seeds" in ruling.because


def against(head, base, **more):
    return AgainstCommit(head, {r.seed: r for r in base.readings}, "3f2a1c", **more)


@pytest.mark.parametrize(
    ("head", "base", "state"),
    [
        ((0.95,) * 4, (0.95,) * 4, "holds"),
        ((0.92, 0.921, 0.919), (0.95, 0.95, 0.95), "fails"),
        ((0.95,), (0.951,), "open"),
        ((0.98, 0.98, 0.98), (0.95, 0.95, 0.95), "holds"),
        ((0.90, 0.96, 0.93), (0.95, 0.93, 0.96), "open"),
    ],
)
def test_against_another_commit(head, base, state):
    ruling = against(accuracy(*head, shift=7), accuracy(*base)).rule()
    assert ruling.state == state, ruling.because
    assert ruling.measure.bound == 0.01
    assert "3f2a1c" in ruling.because


def test_trainings_that_agree_bit_for_bit_hold_at_once():
    ruling = against(accuracy(0.95), accuracy(0.95)).rule()
    assert ruling.state == "holds"
    assert "bit for bit" in ruling.because


def test_equal_numbers_of_different_trainings_are_no_proof():
    head = accuracy(0.95)
    other = replace(head, readings=[replace(r, losses=(9.0,)) for r in head.readings])
    assert against(other, head).rule().state == "open"


def test_few_changed_examples_do_not_prove_a_loss():
    """Three of sixty lost with every seed: seeds agree, but chance among examples explains it."""
    steady = {"samples": 60, "margin": 0.02, "steady": True}
    ruling = against(accuracy(*[0.90] * 5, **steady), accuracy(*[0.95] * 5, **steady)).rule()
    assert ruling.measure.low > 0
    assert ruling.state == "open"


def test_too_few_samples_to_tell_the_margin():
    ruling = against(accuracy(0.9, samples=10, shift=1), accuracy(0.9, samples=10)).rule()
    assert ruling.state == "unknown"
    assert "one of 10 samples alone is 10 points" in ruling.because


def test_what_stays_open_is_told_how_many_seeds_may_decide_it():
    values = (0.952, 0.944, 0.957, 0.948, 0.955)
    ruling = against(accuracy(*values, shift=7), accuracy(*[0.955] * 5)).rule()
    assert ruling.state == "open"
    assert "seeds may decide it (max_seeds=)" in ruling.because


def test_a_lower_error_is_no_loss():
    assert against(error(2.0, 2.0, 2.0), error(3.0, 3.0, 3.0)).rule().state == "holds"
    assert against(error(4.0, 4.01, 4.0), error(3.0, 3.0, 3.0)).rule().state == "fails"


def past(*values):
    return [Past(f"c{i}", float(i), value) for i, value in enumerate(values)]


@pytest.mark.parametrize(
    ("now", "earlier", "state"),
    [
        ((0.951, 0.95, 0.949), (0.95, 0.951, 0.949, 0.9505), "holds"),
        ((0.90, 0.901, 0.899), (0.95, 0.951, 0.949, 0.9505), "fails"),
        ((0.949,), (0.95,), "open"),
    ],
)
def test_against_earlier_runs(now, earlier, state):
    ruling = AgainstPast(accuracy(*now), past(*earlier), "main").rule()
    assert ruling.state == state, ruling.because
    assert "main" in ruling.because


def test_the_same_numbers_as_in_the_last_run_hold_at_once():
    now = accuracy(0.95)
    ruling = AgainstPast(now, past(0.97, now.values[0]), "main").rule()
    assert ruling.state == "holds"
    assert "to the last digit" in ruling.because


def test_one_run_that_was_repeated_is_no_proof_of_little_noise():
    once = AgainstPast(accuracy(0.945), past(0.95), "main").rule()
    often = AgainstPast(accuracy(0.945), past(*[0.95] * 20), "main").rule()
    assert often.measure.low == pytest.approx(once.measure.low)


def test_hypotheses_share_the_risk_after_holm():
    """What one alone would fail by, the second of two fails by only after the first has failed."""
    edge = next(a / 1_000 for a in range(949, 500, -1) if _fails(a / 1_000, 1))
    assert not _fails(edge, 2)
    rule, sure = Threshold(accuracy(edge), 0.95).rule, Threshold(accuracy(0.3), 0.95).rule
    fine = Threshold(accuracy(0.999), 0.95).rule
    assert [r.state for r in holm([rule, sure])] == ["fails", "fails"]
    assert [r.state for r in holm([rule, fine])] == ["open", "holds"]


def _fails(share, among):
    return Threshold(accuracy(share), 0.95).rule(among).state == "fails"
