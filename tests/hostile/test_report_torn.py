"""A journal that was torn, anywhere: every report can be made of what is left."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pytest_dlcheck.check import example_trace
from pytest_dlcheck.finding import Finding
from pytest_dlcheck.reports import kinds
from pytest_dlcheck.reports.journal import Journal, JournalError, read
from pytest_dlcheck.reports.kinds import KINDS, Request
from pytest_dlcheck.trace import Series
from pytest_dlcheck.trial import Terms
from pytest_dlcheck.verdict import Outcome, Verdict

TEXT = ("markdown", "openmetrics")


def written(path):
    journal = Journal(path, {"python": "3.12"})
    trace = example_trace(Terms().train()[0], loss=Series((0, 1), (2.0, 1.0)))
    for recipe in ("one", "two"):
        asked = {"recipe": recipe, "terms": None, "checks": [], "file": "t.py", "line": 1}
        journal.write("begun", {"recipe": recipe, "check": "causality", "file": "t.py", "line": 1})
        journal.write("recipe", asked)
        journal.write("trace", {"recipe": recipe, "trace": trace.to_json()})
        verdict = Verdict(check="causality", outcome=Outcome.PASSED, because="ünd fine")
        journal.write("verdict", {"finding": Finding(recipe, verdict).to_json()})
    journal.close()
    return path.read_bytes()


def test_a_journal_torn_at_every_byte_of_its_last_line_is_reported(tmp_path):
    whole = written(tmp_path / "whole.jsonl")
    last = whole[:-1].rindex(b"\n") + 1
    path = tmp_path / "torn.jsonl"
    for cut in range(last + 1, len(whole) - 1):
        path.write_bytes(whole[:cut])
        contents = read(path)
        assert "torn" in contents.notice
        (flying,) = contents.unjudged
        assert (flying.recipe, flying.verdict.outcome) == ("two", Outcome.ERRORED)
        assert [f.recipe for f in contents.findings] == ["one", "two"]
        for kind in TEXT:
            kinds.write(Request(kind, kind), contents, tmp_path)
    assert "**`two` does not run**" in (tmp_path / "markdown").read_text("utf-8")


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if kind.place != "address"])
def test_a_journal_that_ends_after_any_line_is_reported(tmp_path, kind):
    pytest.importorskip(KINDS[kind].needs or "pytest_dlcheck")
    lines = written(tmp_path / "whole.jsonl").splitlines(keepends=True)
    for count in range(1, len(lines) + 1):
        path = tmp_path / "cut.jsonl"
        path.write_bytes(b"".join(lines[:count]))
        kinds.write(Request(kind, "report"), read(path), tmp_path)


def test_a_line_torn_in_the_middle_of_a_journal_is_no_journal(tmp_path):
    lines = written(tmp_path / "whole.jsonl").splitlines(keepends=True)
    (tmp_path / "bad.jsonl").write_bytes(lines[0] + lines[1][:9] + b"\n" + b"".join(lines[2:]))
    with pytest.raises(JournalError, match="is no journal: line 2"):
        read(tmp_path / "bad.jsonl")


def test_two_sessions_that_write_the_same_journal_leave_a_whole_one(tmp_path):
    path = tmp_path / "j.jsonl"
    one, two = Journal(path, {"python": "1"}), Journal(path, {"python": "2"})
    for check in "abc":
        for name, journal in (("one", one), ("two", two)):
            verdict = Verdict(check=check, outcome=Outcome.PASSED, because="x" * 10_000)
            journal.write("verdict", {"finding": Finding(name, verdict).to_json()})
    for name, journal in (("one", one), ("two", two)):
        contents = journal.contents()
        assert [(f.recipe, f.verdict.check) for f in contents.findings] == [(name, c) for c in "abc"]
        journal.close()
    assert read(path).session == {"python": "2"}
    assert {f.recipe for f in read(path).findings} == {"two"}
    assert [p.name for p in tmp_path.iterdir()] == ["j.jsonl"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_in_its_place_is_told_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(JournalError, match="it is no file"):
        read(tmp_path / "pipe")


KILLED = """
import os, signal
import pytest
from kit import made

class Killer:
    def __init__(self, verdicts):
        self.left = verdicts

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item):
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

made()  # what torch imports late is imported once, before the forks
for k in range(4):
    if not (pid := os.fork()):
        arguments = ["--dlcheck", "-q", f"--dlcheck-report=json:{k}.jsonl", "--dlcheck-report=markdown"]
        os._exit(pytest.main(arguments, plugins=[Killer(k)]))
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.usefixtures("quick_python")
def test_a_session_killed_in_any_check_can_be_reported_and_the_check_in_flight_is_an_error(project):
    project.recipes(
        "pytestmark = pytest.mark.dlcheck(select=['data', 'dynamics'])\n"
        "@recipe\ndef calm():\n    return made()\n\n"
        "@recipe\ndef cut():\n    return made(Net(cut=True))\n"
    )
    project.write({"killed.py": KILLED})
    subprocess.run([sys.executable, "killed.py"], check=True, timeout=300, stdout=subprocess.DEVNULL)
    turns = ["calm", "calm", "cut", "cut"]
    for k in range(4):
        contents = read(project.path / f"{k}.jsonl")
        assert len(contents.findings) == k + 1
        (flying,) = contents.unjudged
        assert (flying.recipe, flying.verdict.outcome) == (turns[k], Outcome.ERRORED)
        for kind in TEXT:
            kinds.write(Request(kind, f"{k}.{kind}"), contents, project.path)
        assert f"**`{turns[k]}` does not run**" in (project.path / f"{k}.markdown").read_text("utf-8")
