"""An isolated trial runs in a pytest like its parent: its trace is the same, number for number."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from pytest_dlcheck.plugin.endings import Death, ending_of
from pytest_dlcheck.reports.journal import read

CONFTEST = """
import pytest

def pytest_addoption(parser):
    parser.addoption("--size", type=int, default=0)

@pytest.fixture(scope="session")
def size(pytestconfig):
    return pytestconfig.getoption("--size")
"""
INI = """
[pytest]
addopts = -p no:randomly -p no:asyncio --import-mode=importlib
pythonpath = src .
dlcheck_steps = 4
filterwarnings = error
"""
RECIPES = """
import os, pathlib
import pytest
from kit import *
from thing.data import batches

HERE = pathlib.Path(__file__).parent

def noted():
    assert pathlib.Path.cwd() == HERE.parents[1]
    with (HERE / "processes").open("a") as book:
        book.write(f"{os.getpid()}\\n")

@pytest.fixture(scope="module")
def cut(request, size):
    yield size == 7
    noted()

class TestIt:
    @recipe
    @pytest.mark.parametrize("name", ["a::b \u00fc [x]"])
    @pytest.mark.dlcheck(select=["dynamics"])
    def method(self, name, cut, tmp_path, dlcheck_device):
        assert tmp_path.is_dir() and dlcheck_device == "cpu"
        noted()
        return made(Net(cut=cut), train_data=batches())

@recipe(rebuild=False)
@pytest.mark.dlcheck(select=["dynamics", "learning"], seeds=2)
def kept(cut):
    print("do not tell the parent")
    return made(nn.Sequential(nn.Linear(4, 8), nn.Dropout(), nn.Linear(8, 2)))

def test_ordinary(tmp_path):
    (tmp_path / "left.txt").write_text("still here")
"""
ARGS = (
    *("suite", "--size=7", "--dlcheck-report=json", "--junitxml=junit.xml", "--basetemp=base"),
    *("-v", "-o", "dlcheck_steps=3", "-k", "not nothing", "--deselect=nowhere.py", "--maxfail=9"),
    "--dlcheck-device=cpu",
)


@pytest.fixture
def repo(project):
    data = "from kit import X, Y\n\ndef batches():\n    return [(X, Y)] * 9\n"
    project.write({"pytest.ini": INI, "src/thing/__init__.py": "", "src/thing/data.py": data})
    project.write({"suite/conftest.py": CONFTEST, "suite/a dir/test_[ä b].py": RECIPES})
    return project


def told(project):
    """Verdicts, and traces but for their times."""
    contents = read(project.path / "dlcheck.jsonl")
    verdicts = {(f.recipe, f.verdict.check): f.verdict for f in contents.findings}
    timed = {"seconds", "data_seconds", "memory"}
    traces = [
        (
            name,
            replace(
                trace,
                seconds=0.0,
                channels={k: v for k, v in trace.channels.items() if k not in timed},
                facts={k: v for k, v in trace.facts.items() if k not in timed},
            ),
        )
        for name, group in contents.traces.items()
        for trace in group
    ]
    return verdicts, traces


@pytest.mark.usefixtures("quick_python")
def test_verdicts_and_traces_are_those_of_a_session_without_it(repo):
    without = repo.check(*ARGS)
    without.assert_outcomes(passed=4, failed=1)
    book = repo.path / "suite" / "a dir" / "processes"
    assert set(book.read_text().split()) == {str(os.getpid())}
    book.unlink()
    expected = told(repo)

    # A time limit on the command line isolates.
    result = repo.check(*ARGS, "--dlcheck-timeout=300")

    result.assert_outcomes(passed=4, failed=1)
    assert told(repo) == expected
    processes = book.read_text().split()
    assert len(set(processes)) == 4, "one for the method, three for the recipe that is built once"
    assert str(os.getpid()) not in processes
    result.stdout.no_fnmatch_line("*do not tell*")
    assert len(list(ET.parse(repo.path / "junit.xml").getroot().iter("testcase"))) == 5
    assert (repo.path / "base" / "test_ordinary0" / "left.txt").exists()


STACK = """\
Fatal Python error: Segmentation fault

Thread 0x01 (most recent call first):
  File "/usr/lib/threading.py", line 3 in wait

Current thread 0x02 (most recent call first):
  File "/lib/site-packages/torch/nn/functional.py", line 9 in linear
  File "/home/me/net.py", line 12 in forward
  File "/lib/site-packages/torch/nn/modules/module.py", line 1 in _call_impl
  File "/home/me/tests/test_it.py", line 7 in step
"""
LOADING = """\
Thread 0x02 (most recent call first):
  File "/lib/site-packages/torch/utils/data/dataloader.py", line 9 in _try_get_data
"""


@pytest.mark.parametrize(
    ("death", "kind", "where", "message"),
    [
        (Death(-11, begun=True, stacks=(STACK,)), "killed", "forward, in net.py:12", r"SIGSEGV"),
        (Death(-9, begun=True), "killed", "", r"SIGKILL: by hand, or"),
        (Death(-9, begun=True, out_of_memory=True), "out_of_memory", "", r"for want of memory"),
        (Death(-64, begun=True), "killed", "", r"killed by (signal 64|SIGRTMAX)"),
        (Death(3, begun=True, stacks=("",)), "killed", "", r"ended with exit code 3 \(os\._exit"),
        (
            Death(4, begun=False),
            "raised",
            "collecting the recipe again",
            r"ended with exit code 4 before it",
        ),
        (Death(None, begun=True, limit=2.5), "timed_out", "", r"time limit of 2\.5 s was reached"),
        (Death(None, begun=False, limit=120), "timed_out", "", r"had not begun 120 s after"),
        (
            Death(None, begun=True, limit=1, stacks=(LOADING,)),
            "timed_out",
            "waiting for the data",
            "1 s",
        ),
        (
            Death(None, begun=True, limit=1, stacks=(LOADING, "", STACK)),
            *("timed_out", "forward, in net.py:12, in a worker of the data loader", "1 s"),
        ),
    ],
)
def test_a_death_is_told_with_its_place(tmp_path, death, kind, where, message):
    root = type(tmp_path)("/home/me")
    ending = ending_of(replace(death, output="\n".join(f"line {i}" for i in range(99))), root)
    assert ending.kind == kind
    assert ending.where.startswith(where)
    assert where or not ending.where
    assert re.search(message, ending.message)
    assert "line 98" in ending.detail
    assert "line 50" not in ending.detail
