"""Processes against those of another commit: apart, and in pairs that took turns."""

from __future__ import annotations

import math
import random

import pytest

from pytest_dlcheck.gating.commit import against_commit, apart, in_turns
from pytest_dlcheck.gating.pace import Looks, Quantity, Sample

SPEED = Quantity("throughput", "samples/s", ">=", "slower")
BYTES = Quantity("peak memory", "bytes", "<=", "more")
COMMIT = "3f2a1c9d8e" * 4


def speed(*values):
    return Sample(SPEED, values, 0.03)


def judged(head, base, name, looks):
    difference = apart(head.quantity.badness(head.values), head.quantity.badness(base))
    return against_commit(head, difference, name, looks)


@pytest.mark.parametrize(("times", "state"), [(1.0, "holds"), (0.9, "fails"), (1.1, "holds")])
def test_another_commit_in_turns(times, state):
    base = [5000.0, 5010, 4990, 5005, 4995]
    head = speed(*(value * times for value in base))
    ruling = judged(head, base, COMMIT, Looks(5, 15))
    assert ruling.state == state
    assert " 3f2a1c9d8e," in ruling.because


def test_another_commit_stays_open_while_the_interval_spans_the_margin():
    head, base = speed(4900, 5300, 4600, 5000, 4850), [5000.0, 5400, 4700, 5100, 4950]
    assert judged(head, base, "abc", Looks(5, 15)).state == "open"


def test_a_real_slowdown_within_the_margin_is_no_failure():
    base = [5000.0, 5001, 4999, 5000, 5001]
    ruling = judged(speed(*(value / 1.02 for value in base)), base, "abc", Looks(5, 15))
    assert ruling.state == "holds"


def test_numbers_without_any_noise_decide_at_once():
    same, more = Sample(BYTES, (1e6, 1e6), 0.03), Sample(BYTES, (1.1e6, 1.1e6), 0.03)
    assert judged(same, [1e6, 1e6], "abc", Looks(2, 10)).state == "holds"
    assert judged(more, [1e6, 1e6], "abc", Looks(2, 10)).state == "fails"


def test_no_number_is_no_pass():
    ruling = judged(speed(math.nan, 5200, 5200), [5200.0, 5210, 5190], "abc", Looks(3, 7))
    assert ruling.state in {"open", "unknown"}


def pairs(times, *, count=6, blocks=60, seed=0):
    """Pairs on a machine whose speed wanders by a factor of three, one turn after the other."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        moods = [draw.uniform(0.0, math.log(3))]
        for _ in range(blocks):
            moods.append(0.9 * moods[-1] + draw.gauss(0, 0.1))
        own = [draw.gauss(0, 0.005) for _ in range(2)]
        head = [mood + math.log(times) + own[0] + draw.gauss(0, 0.01) for mood in moods]
        base = [mood + own[1] + draw.gauss(0, 0.01) for mood in moods]
        found.append((head, base))
    return found


def held(found):
    head = speed(*(math.exp(-sorted(own)[len(own) // 2]) for own, _ in found))
    return head, against_commit(head, in_turns(found), COMMIT, Looks(5, 15))


@pytest.mark.parametrize(("times", "state"), [(1.0, "holds"), (1.06, "fails"), (0.9, "holds")])
def test_what_both_of_a_pair_feel_is_no_noise(times, state):
    ruling = held(pairs(times))[1]
    assert ruling.state == state
    assert "3f2a1c9d8e, in 6 pairs that took turns; " in ruling.because


@pytest.mark.parametrize("times", [1.0, 1.06])
def test_processes_that_ran_apart_would_have_told_nothing_there(times):
    found = pairs(times)
    medians = ([sorted(own)[len(own) // 2] for own in side] for side in zip(*found, strict=True))
    assert against_commit(held(found)[0], apart(*medians), COMMIT, Looks(5, 15)).state == "open"


def test_one_pair_decides_nothing():
    assert held(pairs(1.5, count=1))[1].state == "open"


def test_blocks_without_a_counterpart_do_not_count():
    even = [([0.1] * 5, [0.1] * 5)] * 3
    longer = [([0.1] * 5 + [9.0] * 9, [0.1] * 5)] * 3
    assert in_turns(longer) == in_turns(even)
