"""Gates on speed in a session: beside pytest-benchmark, pytest-rerunfailures and pytest-xdist."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace

import pytest

from pytest_dlcheck.check import example_trace, registry
from pytest_dlcheck.plugin.isolation import Isolation
from pytest_dlcheck.plugin.scheduling import RecipeScheduling
from pytest_dlcheck.reports.journal import read
from pytest_dlcheck.session import timed_checks
from pytest_dlcheck.trace import Row, Series
from pytest_dlcheck.verdict import Outcome

RECIPE = """
@pytest.mark.dlcheck(throughput=5000, latency=0.02, peak_memory="1 MB", select=[])
@recipe
def net():
    raise AssertionError("the processes are made up")
"""
MACHINE = """
import pytest

@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_generate_machine_info(config):
    return {}  # pytest-benchmark would ask for a second which processor this is
"""
GATES = ("latency", "peak_memory", "throughput")


def process(self, item, planned, timeout, progress):
    """What a child would tell: steps of 10 ms, a little more in each further process."""
    trial = planned.trial
    seconds = 0.01 * (1 + trial.replicate / 1000) * (trial.batch_size or 64) / 64
    timing = Row(
        samples=trial.batch_size or 64, batch_size=64, settled=True, device="cpu", dtype="float32"
    )
    one = Series((0, 1), (seconds, seconds))
    name = "step_seconds" if trial.kind == "bench_train" else "call_seconds"
    memory = Row(bytes=1000.0)
    return example_trace(trial, timing=timing, step_memory=memory, **{name: one})


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """What is driven here is no worker, also where these tests are run by one."""
    for name in [name for name in os.environ if name.startswith("PYTEST_XDIST_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def timed(real_project, monkeypatch):
    """A project with one recipe that is held to numbers, whose processes are made up."""
    monkeypatch.setattr(Isolation, "run", process)
    real_project.write({"conftest.py": MACHINE})
    real_project.recipes(RECIPE)
    return real_project


def results(project):
    return json.loads((project.path / "b.json").read_text())["benchmarks"]


def test_pytest_benchmark_shows_and_writes_what_was_timed(timed):
    result = timed.check("--benchmark-json=b.json", "-v")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*benchmark 'dlcheck: throughput'*", "net::throughput *"])
    found = {entry["name"]: entry for entry in results(timed)}
    assert set(found) == {"net::throughput", "net::latency"}
    steps = found["net::throughput"]
    assert steps["fullname"] == "test_it.py::net::throughput"
    assert steps["stats"]["data"] == pytest.approx([0.01, 0.01001, 0.01002])
    assert steps["extra_info"]["samples_per_second"] == pytest.approx(64 / 0.01001)
    assert steps["extra_info"]["device"] == "cpu"
    assert steps["extra_info"]["dtype"] == "float32"
    assert steps["extra_info"]["batch_size"] == 64


def test_what_was_saved_can_be_compared_with(timed):
    timed.check("--benchmark-save=before")
    result = timed.check("--benchmark-compare", "-k", "throughput")
    result.stdout.fnmatch_lines(["net::throughput (0001_before)*", "net::throughput (NOW)*"])


def test_other_settings_stand_beside_the_first(timed):
    timed.recipes(RECIPE.replace("throughput=5000", 'throughput={"batch_size": [64, 128]}'))
    timed.check("--benchmark-json=b.json", "-k", "throughput")
    (entry,) = results(timed)
    assert entry["extra_info"]["others"]["batches of 128"]["samples_per_second"] == pytest.approx(
        128 / 0.02002
    )


def test_benchmark_only_runs_them_and_nothing_else(timed):
    timed.append("test_it.py", "\ndef test_other():\n    pass\n")
    result = timed.check("--benchmark-only", "-v")
    result.stdout.fnmatch_lines(["*net::throughput PASSED*", "*test_other SKIPPED*"])
    result.assert_outcomes(passed=2, skipped=2)  # the memory of a step is no time


@pytest.mark.parametrize("option", ["--benchmark-skip", "--benchmark-disable"])
def test_benchmark_skip_and_disable_leave_them_out(timed, option):
    result = timed.check(option, "-rs")
    result.assert_outcomes(passed=1, skipped=2)
    result.stdout.fnmatch_lines([f"SKIPPED*{option}*"])


def test_without_pytest_benchmark_they_are_judged_all_the_same(timed):
    timed.check("-p", "no:benchmark").assert_outcomes(passed=3)


def test_a_gate_that_fails_says_by_how_much_and_is_still_recorded(timed):
    timed.recipes(RECIPE.replace("throughput=5000", "throughput=9000"))
    result = timed.check("--benchmark-json=b.json", "-k", "throughput")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*throughput 6,394 samples/s*must be >= 9,000 samples/s*"])
    assert [entry["name"] for entry in results(timed)] == ["net::throughput"]


def test_nothing_is_timed_unless_it_is_asked_for(timed):
    timed.recipes("@recipe\ndef net():\n    return made()\n")
    ids = {line.rpartition("::")[2] for line in timed.ids("--dlcheck")}
    assert not ids & set(GATES)


def test_its_processes_need_no_fixtures_of_the_sessions(timed):
    timed.recipes(
        "@pytest.fixture\ndef costly():\n    raise AssertionError('built for nothing')\n\n"
        '@pytest.mark.dlcheck(throughput=5000)\n@recipe\ndef net(costly):\n    "made up"\n'
    )
    timed.check("-k", "throughput").assert_outcomes(passed=1)


def test_a_gate_is_not_repeated_until_it_passes(timed):
    result = timed.check("--reruns=2", "-k", "throughput")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*throughput is a gate*up to 3 times*flaky(reruns=0)*"])
    exempt = RECIPE.replace("@recipe", "@pytest.mark.flaky(reruns=0)\n@recipe")
    timed.recipes(exempt)
    timed.check("--reruns=2", "-k", "throughput").assert_outcomes(passed=1)


SHORT = """
from dataclasses import replace
from pytest_dlcheck.run.bench import trial

trial.TRAINING = replace(trial.TRAINING, seconds=0.2)
trial.LOADING = 0.1
"""


@pytest.mark.usefixtures("quick_python")
def test_real_processes_time_a_small_recipe_and_weigh_it(real_project):
    real_project.write({"conftest.py": SHORT})
    real_project.recipes(
        "@pytest.mark.dlcheck(throughput=1, peak_memory='1 GB')\n"
        "@recipe\ndef net():\n    return made()\n"
    )
    result = real_project.check("--dlcheck-select=throughput,peak_memory", "--dlcheck-report=json")
    result.assert_outcomes(passed=2)
    contents = read(real_project.path / "dlcheck.jsonl")
    found = {f.verdict.check: f.verdict.measures for f in contents.findings}
    speed, memory = found["throughput"][0], found["peak_memory"][0]
    assert len(speed.samples) >= 3
    assert speed.value > 1
    assert memory.value < 1e6
    assert memory.low == memory.high == memory.value


CONFTEST = """
import sys, time
from pathlib import Path
from pytest_dlcheck.plugin.isolation import Isolation
from pytest_dlcheck.check import example_trace
from pytest_dlcheck.trace import Row, Series
import pytest

def log(name, begun):
    with (Path(__file__).parent / "log").open("a") as file:
        file.write(f"{name} {begun} {time.monotonic()}\\n")

def run(self, item, planned, timeout, progress):
    begun = time.monotonic()
    time.sleep(0.3)
    log("gate", begun)
    steps = Series((0, 1), (0.01, 0.01))
    timing = Row(samples=64, settled=True)
    return example_trace(planned.trial, step_seconds=steps, timing=timing, step_memory=Row(bytes=1.0))

Isolation.run = run

@pytest.fixture
def logged(request):
    begun = time.monotonic()
    yield
    log("test", begun)
"""
TESTS = """
import os, signal, time

@pytest.mark.parametrize("name", "ab")
@pytest.mark.dlcheck(throughput=5000, select=[])
@recipe
def net(name):
    raise AssertionError("the processes are made up")

@pytest.mark.parametrize("n", range(8))
def test_other(n, logged):
    time.sleep(0.2)
"""


def spans(project):
    lines = [line.split() for line in (project.path / "log").read_text().splitlines()]
    return [(name, float(begun), float(ended)) for name, begun, ended in lines]


def overlaps(found):
    gates = [span for span in found if span[0] == "gate"]
    return [
        (gate, other)
        for gate in gates
        for other in found
        if other != gate and gate[1] < other[2] and other[1] < gate[2]
    ]


@pytest.fixture
def shared(real_project, quick_python):
    pytest.importorskip("xdist")
    pytest.importorskip("fcntl")
    real_project.write({"conftest.py": CONFTEST})
    real_project.recipes(TESTS)
    return real_project


@pytest.mark.parametrize("mode", ["load", pytest.param("worksteal", marks=pytest.mark.slow)])
def test_under_xdist_nothing_else_runs_while_the_time_is_taken(shared, mode):
    arguments = ("--dlcheck", "-n2", f"--dist={mode}", "--dlcheck-report=json", "-p", "no:randomly")
    result = shared.pytester.runpytest_subprocess(*arguments)
    result.assert_outcomes(passed=10)
    found = spans(shared)
    assert len([span for span in found if span[0] == "gate"]) == 6
    assert overlaps(found) == []
    verdicts = read(shared.path / "dlcheck.jsonl").findings
    assert [f.verdict.outcome for f in verdicts] == [Outcome.PASSED] * 2


def test_under_xdist_a_worker_that_dies_lets_the_others_take_the_time(shared):
    shared.append("test_it.py", "\ndef test_dies():\n    os.kill(os.getpid(), signal.SIGKILL)\n")
    result = shared.pytester.runpytest_subprocess("--dlcheck", "-n2", "-p", "no:randomly", timeout=120)
    result.assert_outcomes(passed=10, failed=1)
    assert overlaps(spans(shared)) == []


@pytest.mark.slow
def test_under_xdist_an_early_end_does_not_wait_for_ever(shared):
    shared.append("test_it.py", "\ndef test_fails():\n    assert False\n")
    result = shared.pytester.runpytest_subprocess(
        "--dlcheck", "-n2", "-x", "-p", "no:randomly", timeout=120
    )
    assert result.ret != 0


class Worker:
    """A stand-in for a process: the items that it was sent."""

    def __init__(self, name, ids):
        self.gateway = SimpleNamespace(id=name)
        self.ids, self.sent, self.shutting_down = ids, [], False

    def send_runtest_some(self, indices):
        self.sent += [self.ids[index] for index in indices]

    def shutdown(self):
        self.shutting_down = True


def test_what_takes_the_time_is_handed_out_last():
    recipes = [f"t.py::net_{name}::{check}" for name in "ab" for check in ("gradients_flow", *GATES)]
    ids = [*recipes, *(f"t.py::test_{n}" for n in range(3))]
    tx = {"tx": ["popen"]}
    config = SimpleNamespace(getvalue=tx.get, option=SimpleNamespace(verbose=0, loadscopereorder=True))
    config.getoption = lambda name, default=None: tx.get(name, default)
    scheduling = RecipeScheduling(config, log=None)
    worker = Worker("gw0", ids)
    scheduling.add_node(worker)
    scheduling.add_node_collection(worker, ids)
    scheduling.schedule()
    done = 0
    while not worker.shutting_down:
        scheduling.mark_test_complete(worker, ids.index(worker.sent[done]))
        done += 1
    assert {nodeid.rpartition("::")[2] for nodeid in worker.sent[-6:]} == set(GATES)
    assert set(worker.sent) == set(ids)


def test_every_gate_on_speed_takes_the_time_and_no_other_check_does():
    assert set(GATES) == timed_checks() <= set(registry())
