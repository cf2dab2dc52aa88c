"""The plot that is attached: a picture that can be parsed, with every curve that can be drawn."""

from __future__ import annotations

import math
from xml.etree import ElementTree as ET

import pytest

from pytest_dlcheck.reports.plot import loss_plot
from pytest_dlcheck.trace import Series, Trace
from pytest_dlcheck.trial import Trial

SVG = "{http://www.w3.org/2000/svg}"


def trace(*values, kind="train"):
    steps = tuple(range(len(values)))
    return Trace(Trial(kind, len(values)), channels={"loss": Series(steps, tuple(map(float, values)))})


def drawn(plot):
    """The lines of the curves: the paths that are not filled."""
    return [
        path.get("d") for path in ET.fromstring(plot).iter(f"{SVG}path") if path.get("fill") == "none"
    ]


def test_a_curve_per_trial_with_its_name():
    plot = loss_plot("cut", [trace(3, 2, 1), trace(3, 3, kind="overfit")])
    assert len(drawn(plot)) == 2
    texts = [text.text for text in ET.fromstring(plot).iter(f"{SVG}text")]
    assert {"cut: loss", "train (3 steps)", "overfit (2 steps)"} <= set(texts)


def test_a_curve_is_broken_where_it_is_not_finite():
    (line,) = drawn(loss_plot("r", [trace(1, 2, math.nan, 3, 4, math.inf)]))
    assert line.count("M") == 2


def test_nothing_to_draw_is_no_plot():
    assert loss_plot("r", []) == loss_plot("r", [trace(math.nan)]) == loss_plot("r", [trace()]) == ""


@pytest.mark.parametrize("values", [(0.0,), (5e-324, 1e308), (-1, -1), (1e-9, 1e9), (7,)])
def test_any_numbers_lie_inside(values):
    (line,) = drawn(loss_plot("r", [trace(*values)]))
    numbers = [float(n) for part in line.replace("L", "M").split("M")[1:] for n in part.split()]
    assert all(0 <= n <= 640 for n in numbers)


@pytest.mark.parametrize("name", ["<script>", "&", "\x00", "\udcff", "]]>", '"'])
def test_any_name_leaves_it_a_picture(name):
    assert ET.fromstring(loss_plot(name, [trace(2, 1)])).tag == f"{SVG}svg"


def test_a_long_training_is_decimated():
    assert len(loss_plot("r", [trace(*range(100_000))])) < 20_000
