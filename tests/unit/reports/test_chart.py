"""Histories drawn: every point has its place, whatever the numbers."""

from __future__ import annotations

import math
from xml.etree import ElementTree as ET

import pytest

from pytest_dlcheck.reports.chart import HEIGHT, chart
from pytest_dlcheck.reports.chart_html import write_html
from pytest_dlcheck.reports.chart_svg import write_svg
from pytest_dlcheck.reports.html.history import History, HistoryPoint


def _history(*values, changes=(), limit=None, name="cnn"):
    points = tuple(
        HistoryPoint("2026-01-01 00:00", value, f"c{i} {name}") for i, value in enumerate(values)
    )
    return History(name, "throughput", "samples/s", points, limit, changes)


def test_the_highest_stands_above_the_lowest_and_the_axis_names_both():
    lines = chart(_history(1.0, 2.0, 3.0), width=40).splitlines()
    assert len(lines) == HEIGHT + 1
    rows = {line.index("●"): number for number, line in enumerate(lines) if "●" in line}
    assert [rows[column] for column in sorted(rows)] == sorted(rows.values(), reverse=True)
    assert lines[0].split()[0] == "3.1"
    assert lines[HEIGHT - 1].split()[0] == "0.9"


def test_a_change_is_marked_below_the_point_it_begins_at():
    lines = chart(_history(*[2.0] * 5, *[1.0] * 5, changes=(5,)), width=40).splitlines()
    assert lines[-1].partition("└")[2] == "─────▲────"


def test_more_points_than_columns_share_them():
    lines = chart(_history(*map(float, range(500))), width=40).splitlines()
    assert max(map(len, lines)) <= 40
    assert sum(line.count("●") for line in lines) == 40 - 13


@pytest.mark.parametrize(
    "values",
    [(1.0,), (1.0, 1.0), (0.0, 0.0), (-1.0, 1.0), (math.nan, 1.0), (math.inf, 1.0), (5e-324, 1e308)],
)
def test_odd_numbers_are_drawn_or_marked(values):
    text = chart(_history(*values), width=40)
    finite = sum(map(math.isfinite, values))
    assert (text.count("●"), text.count("×")) == (finite, len(values) - finite)


def test_without_a_finite_number_it_is_said():
    assert chart(_history(math.nan), width=40) == "no number of it is finite"


def test_plain_means_ascii():
    assert chart(_history(1.0, 2.0, changes=(1,), limit=1.5), width=40, plain=True).isascii()


@pytest.mark.parametrize("name", ["cnn", "<b>&\"'", "a\x00\x0b\ud800b", "模型 🧪"])
def test_an_svg_is_whole_whatever_the_names_and_numbers(tmp_path, name):
    path = tmp_path / "h.svg"
    histories = [_history(1.0, math.nan, 2.0, changes=(2,), limit=1.5, name=name), _history(math.inf)]
    write_svg(path, histories)
    root = ET.fromstring(path.read_text("utf-8"))
    assert len(root.findall(".//{*}circle")) == 2
    assert "no number of it is finite" in path.read_text("utf-8")


def test_an_html_page_opens_offline_and_takes_no_markup_from_names(tmp_path):
    path = tmp_path / "h.html"
    write_html(
        path, [_history(1.0, math.nan, 2.0, changes=(2,), name="<script>bad()</script>"), _history(1.0)]
    )
    text = path.read_text("utf-8")
    assert "<script>bad()" not in text
    assert 'src="http' not in text
