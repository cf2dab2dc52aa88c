"""Reports of hostile names and numbers: everything parses, nothing is written outside its place."""

from __future__ import annotations

import json
import math
import sys
from xml.etree import ElementTree as ET

import pytest

from pytest_dlcheck.check import example_trace
from pytest_dlcheck.finding import Finding, TrialSummary
from pytest_dlcheck.reports import kinds
from pytest_dlcheck.reports.annotations import commands
from pytest_dlcheck.reports.journal import Journal, read
from pytest_dlcheck.reports.kinds import KINDS, Request
from pytest_dlcheck.reports.plot import loss_plot
from pytest_dlcheck.trace import Matrix, Row, Series
from pytest_dlcheck.trial import Terms
from pytest_dlcheck.verdict import Measure, Outcome, Suspect, Verdict

LOCAL = [name for name, kind in KINDS.items() if kind.place != "address"]
ODD = (math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.7e308, 0.1)
NAMES = {
    "parent folders": "../../../etc/passwd",
    "an absolute path": "/tmp/x",
    "a device": "CON",
    "NUL": "a\x00b",
    "300 characters": "x" * 300,
    "a lone surrogate": "bytes \udcff",
    "terminal codes": "\x1b[2J\x1b]0;title\x07\r\x08",
    "lines": "one\ntwo\r\nthree\u2028four\n::error::five\n# EOF\n",
    "markup": "</script><b>&amp;</b> ]]> | `x` **y** {{ z }} :bug: --> ${1}",
    "nothing": "",
}


def journal_of(path, name):
    """A journal with the name, or text, in every slot that a user's code fills."""
    journal = Journal(path, {"python": name})
    place = {"recipe": name, "check": name, "file": name, "line": 3}
    journal.write("begun", place)
    journal.write("recipe", {"recipe": name, "terms": None, "checks": [name], "file": name, "line": 3})
    steps = tuple(range(len(ODD)))
    trace = example_trace(
        Terms().train()[0],
        loss=Series(steps, ODD),
        gradient_norm=Matrix(steps, (name, f"{name}.weight"), tuple((v, None) for v in ODD)),
        recipe=Row(model=name, loss=name, optimizer=name, batch_size=math.nan),
        parameters=[Row(name=name, numel=1, shape=name, dtype=name)],
    )
    journal.write("trace", {"recipe": name, "trace": trace.to_json()})
    verdict = Verdict(
        check="gradients_flow",
        outcome=Outcome.FAILED,
        because=f"because {name}",
        measures=tuple(Measure(name, value, name, bound=value) for value in ODD),
        suspects=(Suspect(name, name, name),),
        cause=name,
        remedy=name,
        advice=(name,),
    )
    trial = TrialSummary(name, "train", math.nan, 3, ODD, math.inf)
    journal.write("verdict", {"finding": Finding(name, verdict, trials=(trial,)).to_json()})
    left = {"recipe": name, "check": "causality", "outcome": "failed", "because": name}
    journal.write("unjudged", left)
    journal.close()
    assert not journal.error
    return read(path)


@pytest.fixture(params=LOCAL)
def kind(request):
    pytest.importorskip(KINDS[request.param].needs or "pytest_dlcheck")
    return request.param


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_every_report_of_it_is_written_in_its_place(tmp_path, kind, name):
    contents = journal_of(tmp_path / "j.jsonl", name)
    kinds.write(Request(kind, "report"), contents, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"j.jsonl", "out"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"report"}
    if KINDS[kind].place == "file":
        assert (tmp_path / "out" / "report").read_text("utf-8")


@pytest.mark.parametrize("plane", range(17))
def test_every_code_point_survives_or_is_shown(tmp_path, plane):
    # Halves that stand side by side, high before low, are one character in JSON: keep them apart.
    points = "".join(c + "|" * (c == "\udbff") for c in map(chr, range(plane << 16, (plane + 1) << 16)))
    contents = journal_of(tmp_path / "j.jsonl", points)
    assert contents.findings[0].recipe == points
    for name in ("markdown", "openmetrics"):
        kinds.write(Request(name, name), contents, tmp_path)
        (tmp_path / name).read_text("utf-8")
    assert all(len(line.splitlines()) == 1 and line.encode("utf-8") for line in commands(contents))
    assert ET.fromstring(loss_plot(points, contents.traces[points])).tag.endswith("svg")


def test_every_code_point_was_among_them():
    assert sys.maxunicode + 1 == 17 << 16


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_metric_file_ends_once(tmp_path, name):
    contents = journal_of(tmp_path / "j.jsonl", name)
    kinds.write(Request("openmetrics", "m"), contents, tmp_path)
    lines = (tmp_path / "m").read_text("utf-8").split("\n")
    assert lines.count("# EOF") == 1
    assert lines[-2:] == ["# EOF", ""]


def test_a_journal_is_strict_json_whatever_its_numbers(tmp_path):
    def refuse(constant):
        raise AssertionError(constant)

    journal_of(tmp_path / "j.jsonl", "r")
    for line in (tmp_path / "j.jsonl").read_text("ascii").splitlines():
        json.loads(line, parse_constant=refuse)
