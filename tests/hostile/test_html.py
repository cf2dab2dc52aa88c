"""The HTML report and what is bad for it: names that break out, odd numbers, bad places, two writers."""

from __future__ import annotations

import json
import math
import os
import re
import stat
import sys
import zlib
from base64 import b64decode, b64encode
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pytest_dlcheck.check import example_trace
from pytest_dlcheck.finding import Finding, TrialSummary
from pytest_dlcheck.reports import html
from pytest_dlcheck.reports.contents import Contents
from pytest_dlcheck.reports.errors import ReportError
from pytest_dlcheck.reports.html.history import History, HistoryPoint
from pytest_dlcheck.reports.html.page import render
from pytest_dlcheck.reports.text import one_line
from pytest_dlcheck.trace import Ending, Matrix, Row, Series
from pytest_dlcheck.trial import Terms
from pytest_dlcheck.verdict import Measure, Outcome, Suspect, Verdict

NAMES = {
    "end of a script": "</script><script>pwned()</script>",
    "an image": "<img src=x onerror=pwned()>",
    "a comment": "<!--<script>",
    "an attribute": '" onmouseover="pwned()" x=\'',
    "a link": "javascript:pwned()",
    "a template": "{{ 7*7 }}{% raw %}{# #}${7*7}",
    "a prototype": "__proto__",
    "a property": "constructor",
    "parent folders": "../../../etc/passwd",
    "NUL": "a\x00b",
    "a lone surrogate": "bytes \udcff",
    "right to left": "\u202egnp.exe",
    "lines": "one\ntwo\r\nthree\u2028four",
    "300 characters": "x" * 300,
    "backticks": "`a` ``` `",
    "nothing": "",
}
ODD = [math.nan, math.inf, -math.inf, -0.0, 5e-324, 1e308, -1e308, 0.0]


class Reader(HTMLParser):
    """What a browser would run, load or follow of a page."""

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.scripts, self.attributes, self.tags = 0, [], []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, key, value or "") for key, value in attrs]


def contents(name, values=(1.0, 0.5)):
    """A session in which a name, and numbers, stand wherever they can."""
    verdict = Verdict(
        check=name,
        outcome=Outcome.FAILED,
        because=f"1 of 4 is {name}",
        measures=tuple(
            Measure(name, value, name, value, name, value, value, (value,)) for value in values
        ),
        suspects=(Suspect(name, name, name),),
        cause=name,
        remedy=name + ".",
        advice=(name,),
    )
    trial = TrialSummary(name, "train", values[0], 3, tuple(values), values[-1])
    error = Verdict(
        check="causality",
        outcome=Outcome.ERRORED,
        because=name,
        cause=name,
        suspects=(Suspect("", name),),
    )
    steps = tuple(range(len(values)))
    trace = example_trace(
        Terms().train()[0],
        ending=Ending("raised", 1, name, name, name),
        loss=Series(steps, tuple(values)),
        gradient_norm=Matrix(steps, (name, "b"), tuple((abs(v), None) for v in values)),
        recipe=Row(model=name, loss=name, shapes=name, batch_size=values[0]),
        parameters=[Row(name=name, shape=name, dtype=name)],
        units=[Row(site=name, function=name, units=3, silent=1, active=values[0])],
        validation=[Row(data="val", mode="eval", loss=values[0], correct=1, classified=3)],
        shapes=[Row(probe=name, tensor=name, found=name)],
        optimizer_groups=[{name: name, "lr": values[0]}],
        unobserved={name: name},
    )
    return Contents(
        session={"started": name, "platform": name, "torch": name},
        recipes={name: {"recipe": name, "terms": None, "checks": [], "file": name, "line": 3}},
        traces={name: [trace]},
        findings=[Finding(name, verdict, trials=(trial,)), Finding(name, error, because_of=name)],
        notice=name,
    )


def data(source, name):
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', source)
    return json.loads(found.group(1))


def cards(source):
    return [json.loads(zlib.decompress(b64decode(packed))) for packed in data(source, "cards")]


def numbers(found):
    return [float(value) if isinstance(value, str) else value for value in found]


HARMLESS = Reader(render(contents("harmless")))


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_name_adds_nothing_that_a_browser_acts_on(name):
    source = render(contents(name), [History(name, name, name, (HistoryPoint(name, 1.0, name),))])
    read = Reader(source)
    assert set(read.tags) <= {*HARMLESS.tags, "code"}
    assert read.tags.count("script") == HARMLESS.tags.count("script")
    assert source.count("</script") == read.tags.count("script")
    assert not [key for _, key, _ in read.attributes if key.startswith("on")]
    assert all(v.startswith(("#", "data:,")) for _, key, v in read.attributes if key in {"href", "src"})


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_name_comes_through_as_it_is_read(name):
    source = render(contents(name))
    (card,) = cards(source)
    assert data(source, "index")["recipes"][0][0] == one_line(name)
    told = [verdict for verdict in card["verdicts"] if verdict["check"] != "causality"]
    assert told[0]["check"] == one_line(name)
    assert card["parameters"]["rows"][0][0] == one_line(name)
    assert one_line(name) in card["heats"][0]["sites"]


@pytest.mark.parametrize("plane", range(17))
def test_every_code_point_comes_through(plane):
    points = "".join(chr(plane * 0x10000 + i) for i in range(0x10000))
    verdict = Verdict(check=points, outcome=Outcome.FAILED, because=points)
    source = render(Contents(findings=[Finding("recipe", verdict)]))
    assert source.encode("utf-8").decode("utf-8") == source
    assert cards(source)[0]["verdicts"][0]["check"] == one_line(points)


def test_numbers_come_through_whatever_they_are():
    source = render(contents("r", ODD))
    (card,) = cards(source)
    verdict = next(v for v in card["verdicts"] if v["check"] == "r")
    found = numbers(m["value"] for m in verdict["measures"])
    assert list(map(repr, found)) == list(map(repr, ODD))
    assert list(map(repr, numbers(card["curves"][0]["y"]))) == list(map(repr, ODD))


def test_data_is_strict_json():
    def refuse(constant):
        raise AssertionError(constant)

    source = render(contents("r", ODD))
    packed = re.search(r'id="cards">(.*?)</script>', source).group(1)
    for text in (packed, *(zlib.decompress(b64decode(p)).decode() for p in json.loads(packed))):
        json.loads(text, parse_constant=refuse)


def test_a_browser_is_told_to_run_our_scripts_alone_and_to_fetch_nothing():
    source = render(contents("r"))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', source).group(1)
    policy = policy.replace("&#39;", "'")
    assert "default-src 'none'" in policy
    assert not re.search(
        r"unsafe-(inline|eval|hashes)", policy.partition("script-src")[2].partition(";")[0]
    )
    script = re.search(r"<script>(.*?)</script>", source, re.DOTALL).group(1)
    plotly = zlib.decompress(b64decode(re.search(r'id="plotly">(.*?)</script>', source).group(1)))
    for code in (script.encode(), plotly):
        assert f"'sha256-{b64encode(sha256(code).digest()).decode()}'" in policy


def test_only_what_is_known_of_a_session_is_told():
    found = contents("r")
    canary = "CANARY-5f0c"
    found.session = {**found.session, "host": canary, "env": {"TOKEN": canary}, "argv": [canary]}
    found.recipes["r"] = {**found.recipes["r"], "environment": canary}
    source = render(found)
    assert canary not in source
    assert canary not in json.dumps(cards(source))


def test_a_folder_in_its_place_is_an_error_that_names_it(tmp_path):
    with pytest.raises(ReportError, match=re.escape(str(tmp_path))):
        html.write(contents("r"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_its_folder_is_an_error_that_names_it(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ReportError, match="file"):
        html.write(contents("r"), tmp_path / "file" / "report.html")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_an_error_that_names_the_report():
    with pytest.raises(ReportError, match="/dev/full cannot be written: No space left"):
        html.write(contents("r"), Path("/dev/full"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is closed to root")
def test_a_folder_that_may_not_be_written_is_an_error_that_names_it(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(ReportError, match="Permission denied"):
        html.write(contents("r"), tmp_path / "report.html")


def test_a_report_that_cannot_be_finished_leaves_the_old_one_alone(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ReportError, match="No space left on device"):
        html.write(contents("r"), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_sessions_writing_one_report_never_tear_it(tmp_path):
    path = tmp_path / "report.html"
    pages = {render(contents(name)) for name in ("one", "two")}
    html.write(contents("one"), path)
    seen = set()
    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(_often, name, path) for name in ("one", "two")]
        while not all(writer.done() for writer in writers):
            seen.add(path.read_text(encoding="utf-8"))
        for writer in writers:
            writer.result()
    assert seen <= pages
    assert path.read_text(encoding="utf-8") in pages
    assert list(tmp_path.iterdir()) == [path]


def _often(name, path):
    for _ in range(8):
        html.write(contents(name), path)


def test_a_thousand_recipes_fit_into_fifteen_megabytes():
    steps = tuple(range(40))
    sites = tuple(f"blocks.{n}.attention.query.weight" for n in range(30))
    wobble = tuple(1.0 + math.sin(37.1 * i * i) / 2 for i in range(len(steps) * len(sites)))
    rows = tuple(wobble[i * len(sites) : (i + 1) * len(sites)] for i in steps)
    trace = example_trace(
        loss=Series(steps, wobble[:40]),
        learning_rate=Series(steps, wobble[40:80]),
        gradient_norm=Matrix(steps, sites, rows),
        update_norm=Matrix(steps, sites, rows),
        parameter_norm=Matrix(steps, sites, rows[::-1]),
        parameters=[Row(name=site, shape="(64, 64)", numel=4096) for site in sites],
    )
    found = contents("r")
    names = [f"recipe[{n}]" for n in range(1000)]
    found.findings = [
        Finding(name, finding.verdict, finding.because_of)
        for name in names
        for finding in found.findings
    ]
    found.traces = {name: [trace] for name in names}
    source = render(found)
    assert len(source.encode()) < 15_000_000
    assert len(data(source, "cards")) == 1000
    last = json.loads(zlib.decompress(b64decode(data(source, "cards")[-1])))
    assert {"verdicts", "curves", "heats", "parameters"} <= set(last)


def test_importing_the_report_loads_nothing_heavy():
    import subprocess

    code = (
        "import sys, pytest_dlcheck.reports.html; "
        "assert not {'plotly', 'jinja2', 'torch', 'numpy'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
