"""Traces: plain numbers, strict JSON both ways, unobserved never zero."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_dlcheck.trace import Ending, Matrix, Row, Series, Trace, tagged, untagged
from pytest_dlcheck.trial import Trial, Until

NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
SCALARS = NUMBERS | st.integers(-(2**40), 2**40) | st.text() | st.booleans() | st.none()
STEPS = st.lists(st.integers(0, 99), unique=True, max_size=5).map(sorted).map(tuple)
SERIES = STEPS.flatmap(
    lambda steps: st.builds(Series, st.just(steps), st.tuples(*[NUMBERS] * len(steps)))
)
MATRICES = st.tuples(STEPS, st.lists(st.text(), unique=True, max_size=3).map(tuple)).flatmap(
    lambda axes: st.builds(
        Matrix,
        st.just(axes[0]),
        st.just(axes[1]),
        st.tuples(*[st.tuples(*[NUMBERS | st.none()] * len(axes[1]))] * len(axes[0])),
    )
)
ROWS = st.dictionaries(st.text(), SCALARS, max_size=3).map(Row)
TRACES = st.builds(
    Trace,
    st.sampled_from([Trial("inspect"), Trial("overfit", 9, 2, "cpu", Until(0.5))]),
    st.builds(
        Ending, st.sampled_from(["completed", "raised"]), st.none() | st.integers(0, 9), st.text()
    ),
    st.dictionaries(st.text(), SERIES | MATRICES, max_size=3),
    st.dictionaries(st.text(), st.lists(ROWS, max_size=2).map(tuple), max_size=3),
    st.dictionaries(st.text(), st.text(), max_size=2),
    st.dictionaries(st.text(), st.text(), max_size=2),
    NUMBERS,
)


@given(TRACES)
def test_a_trace_survives_strict_json(trace):
    text = json.dumps(trace.to_json(), allow_nan=False)
    again = Trace.from_json(json.loads(text))
    assert json.dumps(again.to_json(), allow_nan=False) == text
    assert again.trial == trace.trial
    assert again.ending == trace.ending


@given(SCALARS)
def test_a_scalar_survives_with_its_type(value):
    again = untagged(json.loads(json.dumps(tagged(value), allow_nan=False)))
    assert type(again) is type(value)
    assert again == value or math.isnan(value)


def test_a_channel_is_read_by_name():
    trace = Trace(Trial("inspect"), channels={"loss": Series((0, 1), (3.0, 2.0))})
    assert trace["loss"][-1] == 2.0
    with pytest.raises(KeyError, match="no channel 'lose' in this trace: recorded are loss"):
        trace["lose"]


def test_what_was_not_observed_says_why_and_is_empty():
    trace = Trace(Trial("inspect"), unobserved={"gradient_norm": "inside a compiled model"})
    with pytest.raises(KeyError, match="inside a compiled model"):
        trace["gradient_norm"]
    assert len(trace.series("loss")) == len(trace.matrix("loss")) == len(trace.rows("x")) == 0
    assert dict(trace.row("x")) == {}


def test_a_number_that_is_missing_is_not_zero():
    row = Row(one=1, none=None, text="x", yes=True)
    assert row.number("one") == 1.0
    assert math.isnan(row.number("none"))
    assert math.isnan(row.number("gone"))
    assert math.isnan(row.number("text"))
    assert row.integer("gone", 7) == 7
    assert row.text("none") == ""
    assert row.flag("yes")
    assert not row.flag("one")


def test_a_matrix_is_read_by_site():
    matrix = Matrix((0, 5), ("a", "b"), ((1.0, None), (2.0, 3.0)))
    assert matrix.column("b") == (None, 3.0)
    assert dict(matrix.columns()) == {"a": (1.0, 2.0), "b": (None, 3.0)}
    assert list(matrix.numbers()) == [1.0, 2.0, 3.0]
    with pytest.raises(ValueError, match="not in tuple"):
        matrix.column("c")


def test_an_empty_matrix_still_has_its_sites():
    assert dict(Matrix((), ("a",), ()).columns()) == {"a": ()}


def test_numbers_that_are_not_finite_are_found_in_channels_and_facts():
    trace = Trace(
        Trial("train"),
        channels={"loss": Series((0, 1), (1.0, math.nan)), "rate": Series((0,), (0.1,))},
        facts={"rows": (Row(a=1.0), Row(a=math.inf)), "words": (Row(a="nan", b=None),)},
    )
    assert not trace.is_finite("loss")
    assert not trace.is_finite("rows")
    assert trace.is_finite("rate")
    assert trace.is_finite("words")
    assert trace.is_finite("neither")
