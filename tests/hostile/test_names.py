"""Hostile names and Unicode, in every report that there is: nothing escapes, everything parses."""

from __future__ import annotations

import json
import re
import sys
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from pytest_dlcheck.finding import Finding, TrialSummary
from pytest_dlcheck.reports import console, journal, junit, notebook, terminal, text
from pytest_dlcheck.verdict import Measure, Outcome, Suspect, Verdict

NAMES = {
    "parent folders": "../../../etc/passwd",
    "an absolute path": "/tmp/x",
    "a device": "CON",
    "NUL": "a\x00b",
    "300 characters": "x" * 300,
    "an emoji": "model \U0001f600\U0001f468\u200d\U0001f469",
    "a lone surrogate": "bytes \udcff",
    "terminal codes": "\x1b[2J\x1b]0;title\x07\r\x08",
    "right to left": "\u202egnp.exe",
    "lines": "one\ntwo\r\nthree\u2028four",
    "markup": "[bold]<b>&amp;</b>[/bold] :bug: ]]>",
    "nothing": "",
}


def findings(name):
    verdict = Verdict(
        check="gradients_flow",
        outcome=Outcome.FAILED,
        because=f"1 of 4 is {name}",
        measures=(Measure(f"measure {name}", float("nan"), name, float("inf")),),
        suspects=(Suspect(name, name, name),),
        cause=name,
        remedy=name,
        advice=(name,),
    )
    trial = TrialSummary(f"train {name}", "train", -0.0, 3, (5e-324, float("-inf"), 1.0), None)
    other = Verdict(check="causality", outcome=Outcome.INCONCLUSIVE, because=name)
    error = Verdict(check="shape_contract", outcome=Outcome.ERRORED, because=name, cause=name)
    return [
        Finding(name, verdict, trials=(trial,)),
        Finding(name, other),
        Finding(name, error, because_of="gradients_flow"),
        Finding(name, other, objection=name),
    ]


def rendered(found):
    """The text of every report made for people, by name."""
    out = StringIO()
    Console(file=out, width=100, color_system=None).print(console.page(found))
    return {
        "table": terminal.table(found, width=100, colour=False),
        "causes": terminal.causes(found, width=100, colour=False),
        "unsettled": terminal.unsettled(found, width=100, colour=False),
        "text": text.findings_text(found),
        "failures": text.failures_text(found),
        "console": out.getvalue(),
    }


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_what_a_terminal_is_shown_steers_nothing_and_can_be_written(name):
    for kind, told in rendered(findings(name)).items():
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", told), kind
        assert told.encode("utf-8"), kind


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_finding_survives_json_and_html(name):
    for finding in findings(name):
        line = json.dumps(finding.to_json(), allow_nan=False)
        assert line.isascii()
        again = Finding.from_json(json.loads(line))
        assert repr(again) == repr(finding)
    assert notebook.page(findings(name)).encode("utf-8")


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_properties_can_be_written_and_sent(name):
    for finding in findings(name):
        for key, value in junit.properties(finding):
            assert (key + value).encode("utf-8")
            ET.fromstring(f'<p name="{_attribute(key)}" value="{_attribute(value)}"/>')


def _attribute(value):
    """As pytest writes it: illegal characters are its business, what is left must parse."""
    from _pytest.junitxml import bin_xml_escape

    return bin_xml_escape(value).replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")


PLAIN = Verdict(check="causality", outcome=Outcome.FAILED, because="1 of 4", cause="a leak")


def test_every_code_point_survives_in_a_name(tmp_path):
    # Halves that stand side by side, high before low, are one character in JSON: keep them apart.
    everything = "".join(c + "|" * (c == "\udbff") for c in map(chr, range(sys.maxunicode + 1)))
    sizes = range(0, len(everything), 1 << 16)
    path = tmp_path / "journal.jsonl"
    written = journal.Journal(path)
    for start in sizes:
        finding = Finding(everything[start : start + (1 << 16)], PLAIN)
        written.write("verdict", {"finding": finding.to_json()})
        assert text.findings_text([finding]).encode("utf-8")
        assert notebook.page([finding]).encode("utf-8")
    written.close()
    assert written.error == ""
    read = journal.read(path)
    assert not read.notice
    assert [f.recipe for f in read.findings] == [everything[s : s + (1 << 16)] for s in sizes]


RECIPES = """
NAMES = {names!r}

@recipe
@pytest.mark.parametrize("n", range(len(NAMES)), ids=NAMES)
def sized(n):
    net = Net(cut=True)
    net.add_module(NAMES[n].replace(".", "_") or "empty", nn.Linear(1, 1))
    return made(net)

@recipe
def raising():
    raise OSError("no file " + NAMES[0] + NAMES[6] + NAMES[3] + NAMES[7])

def odd():
    return made(Net(cut=True))

for name in NAMES[:1] + NAMES[3:6]:
    globals()[name] = recipe(odd)
"""


@pytest.mark.parametrize(
    "workers", [(), pytest.param(("-n2",), marks=pytest.mark.slow)], ids=["alone", "xdist"]
)
@pytest.mark.usefixtures("quick_python")
def test_a_session_full_of_them(project, workers):
    if workers:
        pytest.importorskip("xdist")
    project.recipes(RECIPES.format(names=list(NAMES.values())))
    around = Path(project.path).parent
    before = set(around.iterdir())

    result = project.pytester.runpytest_subprocess(
        "--dlcheck",
        "--dlcheck-select=dynamics",
        "--junitxml=out.xml",
        "--dlcheck-report=json:j.jsonl",
        *workers,
    )

    assert result.ret == 1, result.stderr.str()
    recipes = len(NAMES) + 1 + 5  # variants, one that raises, and names of a module
    assert result.parseoutcomes() == {"failed": recipes}
    assert len(list(ET.parse(project.path / "out.xml").iter("testcase"))) == recipes
    contents = journal.read(project.path / "j.jsonl")
    assert len(contents.findings) == len(contents.recipes) == recipes
    assert set(around.iterdir()) == before
    made = {path.name for path in project.path.iterdir()}
    known = {
        "conftest.py",
        "kit.py",
        "pytest.ini",
        "test_it.py",
        "out.xml",
        "j.jsonl",
        "stdout",
        "stderr",
    }
    hidden = {"__pycache__", ".pytest_cache", ".benchmarks", ".hypothesis"}
    assert {name for name in made if not name.startswith("runpytest-")} <= known | hidden
