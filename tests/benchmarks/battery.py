"""What the whole default battery of a recipe costs, against the bare steps of its distinct trials.

    python tests/benchmarks/battery.py [--threads 1] [--repeats 3] [--only digits] [--detail]

A battery is what ``pytest --dlcheck`` does for one recipe: build it for each distinct trial, run the
trials, judge all checks. The bare steps are the same trainings with nobody listening: the same loop,
rig, batches and number of steps, without building, experiments, probes or judging. What the loop reads
is read on the clock, its first batches too. Battery and bare steps take turns; the first battery, which
loads torch's lazy parts, is told apart.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import torch

from pytest_dlcheck.policy import Policy, merge
from pytest_dlcheck.run.observer import Observer
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.trial_runner import Request, _prepare
from pytest_dlcheck.run.trials.loop import Limits
from pytest_dlcheck.run.world.seeding import seeded
from pytest_dlcheck.session import Examination, Subject, default_checks
from pytest_dlcheck.trace import Trace

EXAMPLES = Path(__file__).parents[2] / "example_models"
RECIPES = (
    ("test_digits_cnn", "digits_cnn", ["digits"]),
    ("test_char_lm", "char_lm", []),
    ("test_breast_cancer_mlp", "breast_cancer_mlp", [64]),
    ("test_resnet18", "resnet18_on_digits", ["digits"]),
)
"""Module, recipe, and its arguments; ``"digits"`` stands for the fixture."""


@dataclass(frozen=True)
class Times:
    """Seconds of one run: of the clock, and of the processor."""

    wall: float
    cpu: float

    def __add__(self, other: Times) -> Times:
        return Times(self.wall + other.wall, self.cpu + other.cpu)

    @classmethod
    def of(cls, function: Callable[[], Any]) -> tuple[Times, Any]:
        """The time that a call takes, and what it returns."""
        wall, cpu = perf_counter(), process_time()
        result = function()
        return cls(perf_counter() - wall, process_time() - cpu), result


def examine(name: str, factory: Callable[[], Any], policy: Policy) -> Examination:
    """The whole battery."""
    examination = Examination(Subject(name, policy, default_checks()))
    examination.conclude(factory)
    return examination


def bare_steps(factory: Callable[[], Any], trace: Trace) -> Times:
    """The steps of a trial that has run, with nobody listening."""
    if trace.trial.kind == "inspect" or "loss" not in trace.channels:
        return Times(0.0, 0.0)
    with seeded(trace.trial.seed):
        rig = Rig(factory(), trace.trial.device, trace.trial.seed)
        read = Times.of(rig.open)[0]
        loop = _prepare(rig, Request(trace.trial, frozenset()))[0]
        loop.observer = Observer([])
        return read + Times.of(lambda: loop.run(Limits(len(trace["loss"]))))[0]


def policy_of(factory: Any) -> Policy:
    """The policy of the recipe's markers."""
    marks = [m.kwargs for m in getattr(factory, "pytestmark", ()) if m.name == "dlcheck"]
    return merge(marks, {"device": "cpu"})


def load(module: str, name: str, arguments: list[Any]) -> tuple[Callable[[], Any], Policy]:
    """A recipe of the example models."""
    factory = getattr(import_module(module), name)
    policy = policy_of(factory)
    given = [import_module("conftest").split_digits() if a == "digits" else a for a in arguments]
    return partial(factory, *given), policy


def measure(
    name: str, factory: Callable[[], Any], policy: Policy, repeats: int, *, detail: bool
) -> None:
    """Print one row."""
    first, examination = Times.of(lambda: examine(name, factory, policy))
    batteries, bares, rows = [], [], {}
    for _ in range(repeats):
        battery, examination = Times.of(lambda: examine(name, factory, policy))
        batteries.append(battery)
        bare = {trial: bare_steps(factory, trace) for trial, trace in examination.traces.items()}
        bares.append(Times(sum(t.wall for t in bare.values()), sum(t.cpu for t in bare.values())))
        for trial, trace in examination.traces.items():
            rows.setdefault(trial, []).append((trace.seconds, bare[trial].wall))
    if not bares[-1].wall:
        endings = ", ".join(trace.ending.message for trace in examination.traces.values())
        raise SystemExit(f"{name}: no trial took a step ({endings})")
    wall = median(a.wall / b.wall for a, b in zip(batteries, bares, strict=True))
    if not bares[-1].wall:
        print(
            f"| {name} | no trial took a step: {[str(t.ending) for t in examination.traces.values()]} |"
        )
        return
    cpu = [a.cpu / b.cpu for a, b in zip(batteries, bares, strict=True)]
    battery_wall, bare_wall = median(t.wall for t in batteries), median(t.wall for t in bares)
    print(
        f"| {name}, {policy.steps} steps | {len(examination.traces)} trials, "
        f"{len(examination.verdicts)} checks | {first.wall:.2f} s | {battery_wall:.2f} s "
        f"| {bare_wall:.2f} s | {wall:.2f} | {median(cpu):.2f} [{min(cpu):.2f}, {max(cpu):.2f}] |",
        flush=True,
    )
    if detail:
        for trial, times in rows.items():
            whole, steps = (median(column) for column in zip(*times, strict=True))
            done = len(examination.traces[trial].channels.get("loss", ()))
            print(f"    {trial!s:32} {done:4} steps {whole:7.3f} s, bare {steps:7.3f} s")
        told = sum(trace.seconds for trace in examination.traces.values())
        print(f"    building, planning, judging {battery_wall - told:20.3f} s")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1, help="torch's threads; 0: its default")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="recipes whose name contains this")
    parser.add_argument("--detail", action="store_true", help="the seconds of each trial")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")
    sys.path.insert(0, str(EXAMPLES))
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread(s), {options.repeats} repeats\n")
    print("| recipe | battery of | first | battery | bare steps | ratio, wall | ratio, CPU |")
    print("|---|---|---|---|---|---|---|")
    for module, name, arguments in RECIPES:
        if options.only in name:
            factory, policy = load(module, name, arguments)
            measure(name, factory, policy, options.repeats, detail=options.detail)


if __name__ == "__main__":
    main()
