"""The journal survives what happens to files: torn lines, full disks, foreign content, odd names."""

import json
import math
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from pytest_dlcheck.check import example_trace, registry
from pytest_dlcheck.finding import Finding
from pytest_dlcheck.judging import judge_again
from pytest_dlcheck.reports.journal import Journal, JournalError, read
from pytest_dlcheck.trace import Series
from pytest_dlcheck.trial import Terms
from pytest_dlcheck.verdict import Measure, Outcome, Verdict


def _finding(text: str, value: float = 1.0) -> Finding:
    measure = Measure(text, value, text)
    return Finding(text, Verdict(check=text, outcome=Outcome.PASSED, because=text, measures=(measure,)))


def _written(path: Path, *findings: Finding) -> Path:
    journal = Journal(path)
    journal.write("recipe", {"recipe": "r", "terms": None, "checks": []})
    trace = example_trace(Terms().inspect(), loss=Series((0, 1), (math.nan, -math.inf)))
    journal.write("trace", {"recipe": "r", "trace": trace.to_json()})
    for finding in findings:
        journal.write("verdict", {"finding": finding.to_json()})
    journal.close()
    return path


def test_what_is_written_is_read_back(tmp_path):
    path = _written(tmp_path / "deep" / "j.jsonl", _finding("a"), _finding("b", math.inf))
    contents = read(path)
    assert [f.recipe for f in contents.findings] == ["a", "b"]
    assert contents.findings[1].verdict.measures[0].value == math.inf
    assert math.isnan(contents.traces["r"][0].series("loss")[0])
    assert contents.notice == ""


@pytest.mark.parametrize("plane", range(17))
def test_every_code_point_survives_in_every_slot(tmp_path, plane):
    points = (chr(plane * 0x10000 + i) for i in range(0x10000))
    text = "".join(c for c in points if not 0xD800 <= ord(c) <= 0xDFFF)
    assert read(_written(tmp_path / "j.jsonl", _finding(text))).findings == [_finding(text)]


def test_a_journal_cut_at_every_byte_keeps_all_whole_lines(tmp_path):
    whole = _written(tmp_path / "whole.jsonl", _finding("é" * 3), _finding("b")).read_bytes()
    first = whole.index(b"\n") + 1
    for cut in range(first, len(whole)):
        path = tmp_path / "cut.jsonl"
        path.write_bytes(whole[:cut])
        lines = whole[:cut].count(b"\n") + (whole[cut : cut + 1] == b"\n")
        contents = read(path)
        assert len(contents.findings) == max(0, lines - 3)
        assert bool(contents.notice) == (whole[cut - 1 : cut] != b"\n" and whole[cut : cut + 1] != b"\n")


@pytest.mark.parametrize(
    "content", [b"", b"\x00\xff\xfe", b"[1, 2]\n", b'{"kind": 3}\nnope\n{}\n', b"{}\n"]
)
def test_a_foreign_file_is_named_and_left_as_it_is(tmp_path, content):
    path = tmp_path / "foreign"
    path.write_bytes(content)
    with pytest.raises(JournalError, match="foreign is no journal"):
        read(path)
    assert path.read_bytes() == content


def test_a_newer_journal_is_refused(tmp_path):
    path = tmp_path / "j.jsonl"
    path.write_text(json.dumps({"kind": "journal", "version": 99}) + "\n")
    with pytest.raises(JournalError, match="version 99"):
        read(path)


def test_a_folder_in_its_place_is_an_error_that_names_it(tmp_path):
    with pytest.raises(JournalError, match=str(tmp_path)):
        Journal(tmp_path)
    with pytest.raises(JournalError, match="cannot be read"):
        read(tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_remembered_and_raises_nothing():
    journal = Journal(Path("/dev/full"))
    journal.write("verdict", {"finding": _finding("a").to_json()})
    journal.write("verdict", {"finding": _finding("a").to_json()})
    assert "/dev/full ends early: No space left" in journal.error


KILLED = """
import os, signal
import pytest
from kit import made

class Killer:
    def __init__(self, verdicts):
        self.left = verdicts

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report):
        self.left -= getattr(report, "dlcheck", None) is not None
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)

made()  # what torch imports late is imported once, before the forks
for k in range(1, 5):
    if not (pid := os.fork()):
        arguments = ["--dlcheck", "-q", f"--dlcheck-report=json:{k}.jsonl"]
        os._exit(pytest.main(arguments, plugins=[Killer(k)]))
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.usefixtures("quick_python")
def test_a_session_killed_at_any_verdict_has_written_all_so_far(project):
    project.recipes(
        "pytestmark = pytest.mark.dlcheck(select=['data', 'dynamics'])\n"
        "@recipe\ndef calm():\n    return made()\n\n"
        "@recipe\ndef cut():\n    return made(Net(cut=True))\n"
    )
    project.write({"killed.py": KILLED})
    subprocess.run([sys.executable, "killed.py"], check=True, timeout=300, stdout=subprocess.DEVNULL)
    for k in range(1, 5):
        contents = read(project.path / f"{k}.jsonl")
        assert len(contents.findings) == k
        assert contents.notice == ""
        assert set(contents.traces) == {finding.recipe for finding in contents.findings}


def test_what_was_in_flight_when_the_session_was_killed_is_an_error():
    asked = {"terms": asdict(Terms()), "checks": ["gradients_flow"]}
    (finding,) = judge_again("mine", asked, [], registry())
    assert finding.verdict.outcome is Outcome.ERRORED
    assert "the journal ends before this trial" in finding.verdict.because
