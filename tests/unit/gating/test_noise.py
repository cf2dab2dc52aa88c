"""Limits cover what they should: noise of seeds, of examples, and of both."""

from __future__ import annotations

import math
from statistics import stdev

import numpy as np
import pytest
from scipy.stats import binomtest, norm, t

from pytest_dlcheck.gating.bits import packed, unpacked
from pytest_dlcheck.gating.noise import SeedNoise, answers, batches, limits, nothing, sign_test

NONE_ASSUMED = SeedNoise(0.0, 0)


def test_without_anything_assumed_seeds_have_student_t_limits():
    values = (0.91, 0.93, 0.95, 0.92)
    found = limits(values, 0.025, NONE_ASSUMED, nothing)
    half = t.isf(0.025, 3) * stdev(values) / 2
    assert (found.low, found.high) == pytest.approx((0.9275 - half, 0.9275 + half))


def test_one_seed_without_anything_assumed_tells_nothing():
    found = limits((0.9,), 0.025, NONE_ASSUMED, nothing)
    assert (found.low, found.high) == (-math.inf, math.inf)


def test_many_seeds_speak_for_themselves():
    assumed, values = SeedNoise(0.5, 2), tuple(0.9 + 0.001 * (-1) ** i for i in range(400))
    error, freedom = assumed.error(values)
    assert freedom == 401
    assert error < 0.5 / math.sqrt(400) / 5


@pytest.mark.parametrize(("right", "count"), [(10, 10), (0, 10), (95, 100), (9_500, 10_000)])
def test_answers_have_wilsons_limits(right, count):
    below, above = answers(count)(right / count, 0.025)
    known = binomtest(right, count).proportion_ci(0.95, method="wilson")
    assert right / count - below == pytest.approx(known.low, abs=1e-12)
    assert right / count + above == pytest.approx(known.high, abs=1e-12)


def test_averaging_seeds_leaves_the_noise_of_examples():
    alone = limits((0.9,), 0.025, SeedNoise(0.0, 1), answers(100))
    many = limits((0.9,) * 50, 0.025, SeedNoise(0.0, 1), answers(100))
    assert many.high - many.low == pytest.approx(alone.high - alone.low)


def test_both_noises_are_added_as_squares():
    seeds, examples = SeedNoise(0.03, 1_000_000), answers(400)
    both = limits((0.9,), 0.025, seeds, examples)
    half, below = 1.96 * 0.03, examples(0.9, 0.025)[0]
    assert both.estimate - both.low == pytest.approx(math.hypot(half, below), rel=1e-3)


def test_the_limits_cover_the_truth_of_new_examples_and_new_seeds():
    rng, hits = np.random.default_rng(0), 0
    for _ in range(1_000):
        difficulty = rng.standard_normal(200)
        bounds = norm.ppf(np.clip(0.9 + 0.02 * rng.standard_normal(4), 0, 1)) * math.sqrt(1.25)
        right = difficulty + 0.5 * rng.standard_normal((4, 200)) < bounds[:, None]
        found = limits(tuple(right.mean(1)), 0.025, NONE_ASSUMED, answers(200))
        hits += found.low <= 0.9 <= found.high
    assert hits / 1_000 >= 0.95


def test_a_mean_over_batches_is_as_noisy_as_they_are_few():
    few, many = batches(0.1, 3)(0.0, 0.025)[0], batches(0.1, 1_000)(0.0, 0.025)[0]
    assert (few, many) == pytest.approx((0.1 * t.isf(0.025, 2), 0.196), rel=1e-2)


def test_one_batch_tells_nothing_of_its_noise():
    assert batches(math.nan, 1)(0.0, 0.025) == (0.0, 0.0)


@pytest.mark.parametrize(("worse", "better"), [(5, 0), (12, 3), (3, 12), (200, 150)])
def test_the_sign_test_is_exact(worse, better):
    known = binomtest(worse, worse + better, alternative="greater").pvalue
    assert sign_test(worse, better) == pytest.approx(known)


def test_no_change_proves_nothing():
    assert sign_test(0, 0) == 1.0


@pytest.mark.parametrize("count", [1, 3, 4, 5, 1_000])
def test_bits_come_back(count):
    right = [bool(i % 3) for i in range(count)]
    assert list(unpacked(packed(right), count)) == right
    assert len(packed(right)) == -(-count // 4)
