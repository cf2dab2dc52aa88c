"""Under pytest-xdist: each worker has its GPU; one that is killed loses nothing that was concluded."""

from __future__ import annotations

import json
import re
from collections import Counter
from types import SimpleNamespace

import pytest

from pytest_dlcheck.check import registry
from pytest_dlcheck.plugin.gpus import share
from pytest_dlcheck.reports.journal import read
from pytest_dlcheck.session import timed_checks

pytest.importorskip("xdist")
pytestmark = pytest.mark.usefixtures("quick_python")


@pytest.mark.parametrize(
    ("visible", "count", "shared"),
    [
        (None, 0, [None, None, None]),
        (None, 1, ["0", "0", "0"]),
        (None, 2, ["0", "1", "0"]),
        ("2,5", 8, ["2", "5", "2"]),
        (" 3 ,1", 0, ["3", "1", "3"]),
        ("GPU-8932f937,MIG-GPU-1/2/3", 0, ["GPU-8932f937", "MIG-GPU-1/2/3", "GPU-8932f937"]),
        ("0,-1,1", 2, ["0", "0", "0"]),
        ("", 2, [None, None, None]),
        ("-1", 2, [None, None, None]),
    ],
)
def test_each_worker_gets_one_gpu_of_the_callers_in_turn(visible, count, shared):
    assert [share(worker, visible, count) for worker in range(3)] == shared


RECIPES = """
import os, pathlib, signal, time
HERE = pathlib.Path(__file__).parent

@recipe
def calm():
    return made()

@recipe
def killing():
    if not (HERE / "killed").exists():
        (HERE / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return made()

@recipe
def cut():
    return made(Net(cut=True))

@pytest.mark.parametrize("n", range(4))
def test_gpu(n):
    with (HERE / "gpus").open("a") as book:
        book.write(f"{os.environ['PYTEST_XDIST_WORKER']}={os.environ['CUDA_VISIBLE_DEVICES']}\\n")
    time.sleep(0.5)
"""


def test_a_killed_worker_loses_nothing_concluded_and_its_replacement_goes_on(project, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    project.append(
        "conftest.py", "from pytest_dlcheck.plugin import gpus\ngpus.may_be_there = lambda: True\n"
    )
    project.recipes(RECIPES)
    result = project.pytester.runpytest_subprocess("--dlcheck", "-n2", "--dlcheck-report=json", "-v")
    assert result.ret == 1
    contents = read(project.path / "dlcheck.jsonl")
    verdicts = Counter((f.recipe, str(f.verdict.outcome)) for f in contents.findings)
    assert verdicts == {
        ("calm", "passed"): 4,
        ("killing", "errored"): 1,
        ("killing", "passed"): 3,
        ("cut", "passed"): 3,
        ("cut", "failed"): 1,
    }
    result.stdout.fnmatch_lines(
        ["*crashed while running*killing::batch_is_plenty*", "*--dlcheck-isolate*"]
    )
    gpus = dict(line.split("=") for line in (project.path / "gpus").read_text().split())
    assert set(gpus.values()) <= {"3", "5"}
    assert all(gpu == {"gw0": "3", "gw1": "5"}.get(worker, gpu) for worker, gpu in gpus.items())


@pytest.mark.parametrize("mode", ["loadgroup", pytest.param("worksteal", marks=pytest.mark.slow)])
def test_other_distribution_modes_come_to_the_same_verdicts(project, mode):
    project.recipes(
        "@recipe\n@pytest.mark.parametrize('n', ['a@b', 'c'])\ndef calm(n):\n    return made()\n\n"
        "@recipe\ndef cut():\n    return made(Net(cut=True))\n"
    )
    result = project.pytester.runpytest_subprocess("--dlcheck", "-n2", f"--dist={mode}", "-v")
    result.assert_outcomes(passed=11, failed=1)
    failed = set(re.findall(r"FAILED (test_it\.py::\S+)", result.stdout.str()))
    assert failed == {"test_it.py::cut::gradients_arrive"}
    result.stdout.fnmatch_lines(["cut * 3 ok 1 failed *", "cut::gradients_arrive  the graph is cut"])


class Worker:
    """A stand-in for a process: what it was sent, by number of its items."""

    def __init__(self, name):
        self.gateway = SimpleNamespace(id=name)
        self.sent: list[int] = []
        self.shutting_down = False

    def send_runtest_some(self, indices):
        self.sent += indices

    def shutdown(self):
        self.shutting_down = True


def test_a_recipe_that_kills_workers_is_given_up_after_the_second():
    from pytest_dlcheck.plugin.scheduling import RecipeScheduling

    told = []

    def tell(*, report):
        told.append(report)

    tx = {"tx": ["popen"]}
    config = SimpleNamespace(getvalue=tx.get, option=SimpleNamespace(verbose=0, loadscopereorder=False))
    config.hook = SimpleNamespace(pytest_runtest_logreport=tell)
    config.getoption = lambda name, default=None: tx.get(name, default)
    ids = [f"t.py::bad::{name}[a]" for name in registry() if name not in timed_checks()]
    scheduling = RecipeScheduling(config, log=None)
    for turn in range(2):
        worker = Worker(f"gw{turn}")
        scheduling.add_node(worker)
        scheduling.add_node_collection(worker, ids)
        scheduling.schedule()
        assert worker.sent == list(range(turn, len(ids)))
        assert scheduling.remove_node(worker) == ids[turn]
        assert len(told) == turn * (len(ids) - 2)
    assert not scheduling.has_pending
    assert [report.nodeid for report in told] == ids[2:]
    assert all("2 test workers have died of this recipe" in report.longrepr for report in told)
    finding = json.loads(told[0].dlcheck)["finding"]
    assert finding["recipe"] == "bad[a]"
    assert finding["because_of"] == [*registry()][1]
