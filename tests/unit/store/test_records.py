"""Values that a history holds, exact to the last bit."""

from __future__ import annotations

import json
import math
import sys

import pytest

from pytest_dlcheck.store.records import Run, Series, details_of, measure_from
from pytest_dlcheck.verdict import Measure

ODD = [math.nan, math.inf, -math.inf, -0.0, 5e-324, sys.float_info.max, 0.1, 2**53 + 1.0]


def _same(one, other):
    return repr(one) == repr(other)


@pytest.mark.parametrize("value", ODD)
def test_every_number_of_a_measure_comes_back_as_it_was(value):
    written = details_of(Measure("x", value, "s", value, ">=", value, value, (value, 1.0)))
    json.loads(written, parse_constant=pytest.fail)
    read = measure_from("x", "s", written)
    assert all(_same(n, value) for n in (read.value, read.bound, read.low, read.high, read.samples[0]))
    assert (read.name, read.unit, read.sense, read.samples[1]) == ("x", "s", ">=", 1.0)


def test_what_is_not_there_comes_back_as_nothing():
    measure = Measure("x", 1.0, "s")
    assert measure_from("x", "s", details_of(measure)) == measure


def test_a_run_comes_back_from_json():
    run = Run("u", 1.5, "c", "main", dirty=True, plugin_version="1", torch_version="2")
    assert Run.from_json(json.loads(json.dumps(run.to_json()))) == run
    with pytest.raises((KeyError, ValueError)):
        Run.from_json({"uid": "u"})


def test_a_run_is_placed_by_its_commit_and_whether_the_tree_was_dirty():
    assert Run("u", 0.0, "0123456789abcdef").place == "0123456789"
    assert Run("u", 0.0, "0123456789abcdef", dirty=True).place == "0123456789+"
    assert Run("u", 0.0).place == "no commit"


def test_a_recipe_is_known_by_its_short_name():
    assert Series("tests/a.py::Group::cnn[64]", "c", "m", "u").short == "cnn[64]"
    assert Series("cnn", "c", "m", "u").short == "cnn"
