"""Processes against a floor, history and another commit."""

from __future__ import annotations

import math

import pytest

from pytest_dlcheck.gating.pace import (
    Looks,
    Quantity,
    Sample,
    against_bound,
    against_history,
)

SPEED = Quantity("throughput", "samples/s", ">=", "slower")
TIME = Quantity("latency", "s", "<=", "slower")
BYTES = Quantity("peak memory", "bytes", "<=", "more")
LOOKS = Looks(3, 7)


def speed(*values: float) -> Sample:
    return Sample(SPEED, values, 0.03)


def test_a_floor_holds_where_even_the_worse_end_reaches_it():
    ruling = against_bound(speed(5200, 5210, 5190), 5000, LOOKS)
    assert ruling.state == "holds"
    assert ruling.because.startswith("throughput 5,200 samples/s [5,175, 5,225] in 3 processes")


def test_a_floor_fails_where_even_the_better_end_misses_it():
    ruling = against_bound(speed(4000, 4010, 3990), 5000, LOOKS)
    assert ruling.state == "fails"
    assert "4,000 samples/s" in ruling.because
    assert ">= 5,000 samples/s" in ruling.because


def test_a_floor_is_open_while_processes_disagree_about_it():
    assert against_bound(speed(4000, 5600, 5300), 5000, LOOKS).state == "open"


def test_one_process_decides_nothing():
    assert against_bound(speed(9000), 5000, LOOKS).state == "open"


def test_a_floor_is_reached_by_a_mean_just_above_it_that_is_well_known():
    assert against_bound(speed(5010, 5020, 5000), 5005, LOOKS).state == "holds"


def test_a_ceiling_counts_the_other_way():
    slow = Sample(TIME, (0.02, 0.0201, 0.0199), 0.03)
    assert against_bound(slow, 0.01, LOOKS).state == "fails"
    assert against_bound(slow, 0.03, LOOKS).state == "holds"


def test_no_number_is_no_pass():
    for ruling in (
        against_bound(speed(math.nan, 5200, 5200), 5000, LOOKS),
        against_history(speed(math.nan, 5200, 5200), [5000.0, 5100, 5050], "main", 3),
    ):
        assert ruling.state in {"open", "unknown"}


RUNS = [5000.0, 5050, 4950, 5020, 4980, 5010, 4990]


def test_history_holds_within_its_limit():
    ruling = against_history(speed(4930, 4940, 4920), RUNS, "main", 3)
    assert ruling.state == "holds"
    assert "7 last runs of main" in ruling.because


def test_history_asks_for_a_second_measurement_before_it_fails():
    assert against_history(speed(4500, 4510, 4490), RUNS, "main", 3).state == "open"
    assert against_history(speed(4500, 4510, 4490, 4500, 4510, 4490), RUNS, "main", 3).state == "fails"


def test_history_forgives_what_a_second_measurement_does_not_repeat():
    assert against_history(speed(4500, 4510, 4490, 5000, 5010, 4990), RUNS, "main", 3).state == "holds"


def test_history_that_varies_allows_more():
    wild = [5000.0, 5800, 4300, 5500, 4600]
    assert against_history(speed(4500, 4510, 4490), wild, "main", 3).state == "holds"


def test_history_looks_at_the_latest_runs_alone():
    old = [9000.0] * 50 + [5000.0, 5010, 4990] * 7
    assert against_history(speed(5000, 5010, 4990), old, "main", 3).state == "holds"


def test_more_looks_leave_less_for_each():
    once, often = Looks(5, 5).risks(5), Looks(5, 15).risks(5)
    assert often[0] < once[0]
    assert often[1] < once[1]


@pytest.mark.parametrize(
    ("quantity", "value", "words"),
    [
        (TIME, 0.00124, "1.24 ms"),
        (TIME, 4.43e-05, "44.3 µs"),
        (TIME, 2.0, "2 s"),
        (SPEED, 51234.0, "51,234 samples/s"),
        (SPEED, 512.34, "512.3 samples/s"),
        (BYTES, 12.5 * 2**20, "12.5 MiB"),
        (BYTES, 100.0, "100 bytes"),
    ],
)
def test_values_are_told_in_units_that_can_be_read(quantity, value, words):
    assert quantity.words(value) == words
