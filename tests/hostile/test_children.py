"""Isolated trials that hang, crash or are killed: told in words, outlived by the session, and gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import pytest

from pytest_dlcheck.reports.journal import read

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")

RECIPES = """
import os, pathlib, re, resource, signal, sys, time
from torch.utils.data import DataLoader, Dataset

BOOK = pathlib.Path(__file__).parent / "processes"

def noted():
    with BOOK.open("a") as book:
        book.write(f"{os.getpid()}\\n")
noted()

class Stuck(Dataset):
    def __len__(self):
        return 8
    def __getitem__(self, index):
        noted()
        time.sleep(1000)

pytestmark = pytest.mark.dlcheck(select=["data"])
short = pytest.mark.dlcheck(timeout=3)

@recipe
@short
def hangs():
    print("this is the last that was heard")
    time.sleep(1000)

@recipe
@short
def hangs_in_c():
    re.match("(a+)+$", "a" * 50 + "b")

@recipe
@short
def hangs_in_a_worker():
    next(iter(DataLoader(Stuck(), num_workers=1)))

@recipe
def crashes():
    import ctypes
    ctypes.string_at(0)

@recipe
def leaves():
    os._exit(3)

@recipe
def is_killed():
    if not os.fork():
        noted()
        time.sleep(1000)
    os.kill(os.getpid(), signal.SIGKILL)

@recipe
def is_limited():
    resource.setrlimit(resource.RLIMIT_AS, (64 << 30, resource.RLIM_INFINITY))
    torch.empty(1 << 40)

@pytest.fixture
def broken():
    raise OSError("no disk here")

@recipe
def has_a_broken_fixture(broken):
    return made()

@pytest.fixture
def absent():
    pytest.skip("no network here")

@recipe
def is_skipped(absent):
    return made()

@recipe
def healthy():
    return made()
"""
SAID = {
    "hangs": ("timed_out", "hangs, in test_it.py:", "its time limit of 3 s was reached"),
    "hangs_in_c": ("timed_out", "hangs_in_c, in test_it.py:", "its time limit of 3 s was reached"),
    "hangs_in_a_worker": (
        "timed_out",
        ", in a worker of the data loader",
        "its time limit of 3 s was reached",
    ),
    "crashes": ("killed", "crashes, in test_it.py:", "was killed by SIGSEGV (Segmentation fault)"),
    "leaves": ("killed", "", "ended with exit code 3 (os._exit"),
    "is_killed": ("killed", "", "was killed by SIGKILL"),
    "is_limited": ("out_of_memory", "the factory", "DefaultCPUAllocator: can't allocate memory"),
    "has_a_broken_fixture": ("raised", "the fixture broken", "OSError: no disk here"),
    "healthy": ("completed", "", ""),
}


def alive(project) -> list[int]:
    """The processes that have noted themselves, and still run."""
    return [pid for pid in map(int, (project.path / "processes").read_text().split()) if running(pid)]


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(holds, seconds=240.0):
    deadline = monotonic() + seconds
    while not holds():
        assert monotonic() < deadline
        sleep(0.05)


def test_however_a_trial_dies_it_is_told_and_the_next_one_runs(project):
    project.recipes(RECIPES)
    result = project.check("--dlcheck-isolate", "--dlcheck-report=json")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1, skipped=1, failed=8)
    result.stdout.fnmatch_lines(["*this is the last that was heard"])
    contents = read(project.path / "dlcheck.jsonl")
    for name, (kind, where, message) in SAID.items():
        (trace,) = contents.traces[name]
        assert trace.ending.kind == kind, trace.ending
        assert where in trace.ending.where, trace.ending
        assert message in trace.ending.message, trace.ending
    outcomes = {finding.recipe: str(finding.verdict.outcome) for finding in contents.findings}
    told = {name: "passed" if name == "healthy" else "errored" for name in SAID}
    assert outcomes == told | {"is_skipped": "not applicable"}
    assert alive(project) == [os.getpid()]  # the session itself


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_its_session(project, quick_session, monkeypatch, number):
    project.recipes(
        "pytestmark = pytest.mark.dlcheck(select=['data'])\n"
        "@recipe\ndef healthy():\n    return made()\n" + RECIPES.partition("pytestmark")[0] + "@recipe\n"
        "def hangs():\n    next(iter(DataLoader(Stuck(), num_workers=1)))\n"
    )
    command = [
        "-m",
        "pytest",
        "--dlcheck",
        "--dlcheck-isolate",
        "--dlcheck-report=json",
        "-p",
        "no:randomly",
    ]
    monkeypatch.setenv("TMPDIR", str(project.path))
    session = subprocess.Popen([quick_session, *command], stdout=subprocess.PIPE, text=True)
    book = project.path / "processes"
    # The session, a child for each recipe, and a worker of the loader.
    wait_until(lambda: book.exists() and len(book.read_text().split()) == 4)
    session.send_signal(number)
    text, _ = session.communicate(timeout=240)
    contents = read(project.path / "dlcheck.jsonl")
    found = [(f.recipe, str(f.verdict.outcome)) for f in contents.findings]
    was_asked = number is signal.SIGINT  # to end: what was in flight is no fault of the recipe
    assert found == [("healthy", "passed"), ("hangs", "inconclusive" if was_asked else "errored")]
    assert contents.notice == ""
    if number is signal.SIGINT:
        assert session.returncode == pytest.ExitCode.INTERRUPTED
        assert "healthy  1 ok" in " ".join(text.split(" "))
        assert not alive(project)
    wait_until(lambda: not alive(project))
    wait_until(lambda: not list(project.path.glob("dlcheck-*")))
