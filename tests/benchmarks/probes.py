"""What probes add to a training step: the same training bare and watched, step by step in turns.

    python tests/benchmarks/probes.py [--threads 1] [--repeats 5] [--only CNN] [--probes all]

The bare training is the same loop with nobody listening. Three are trained in turns, each from the
same seed: bare, watched, and watched with a clock around every event and module hook of the probes.
``ratio`` is watched / bare: per step the median over the repeats, then summed over the steps, so that
a neighbour's burst does not count while sampled steps do; in brackets the range over leaving out one
repeat. ``hooks`` is 1 + the clocked time / bare. ``ends`` is what probes do once before and after the
training, as a share of the bare steps.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from functools import partial
from statistics import median
from time import perf_counter, thread_time
from typing import Any

import torch
from workloads import WORKLOADS, Workload

from pytest_dlcheck.check import registry
from pytest_dlcheck.plan import plan
from pytest_dlcheck.run.observer import EVENTS, Observer
from pytest_dlcheck.run.probe import Probe
from pytest_dlcheck.run.probes import all_probes
from pytest_dlcheck.run.probes.loss import LossProbe
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.trials.loop import FLUSH_EVERY, Limits, Loop
from pytest_dlcheck.run.world.seeding import seeded
from pytest_dlcheck.trial import Terms, Trial


class Clock:
    """Seconds spent in what it is wound around, nested calls once, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._depth = 0

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, clocked."""

        def clocked(*args: Any, **kwargs: Any) -> Any:
            began = perf_counter()
            self._depth += 1
            try:
                return function(*args, **kwargs)
            finally:
                self._depth -= 1
                if not self._depth:
                    self.seconds[name] += perf_counter() - began

        return clocked

    def wind(self, observer: Observer) -> None:
        """Clock every event of the observer's probes, and the module hooks that they hang."""
        for probe in observer.probes:
            name = type(probe).__name__
            for event in ("begin", *EVENTS):
                if getattr(type(probe), event) is not getattr(Probe, event):
                    setattr(probe, event, self.around(f"{name}.{event}", getattr(probe, event)))
            if make := getattr(probe, "_hook", None):  # gives the forward hook for a module's name
                clocked = partial(self._clocked_hook, f"{name} module hooks", make)
                setattr(probe, "_hook", clocked)  # noqa: B010  it is not ours to name

    def _clocked_hook(self, name: str, make: Callable[..., Any], *args: Any) -> Callable[..., Any]:
        return self.around(name, make(*args))


class Course(Loop):
    """A loop that goes one step at a time and notes the time of each."""

    def __init__(self, workload: Workload, probes: Iterable[type[Probe]], clock: Clock | None) -> None:
        trial = Trial("train", workload.steps)
        with seeded(0):
            rig = Rig(workload.make(), "cpu", 0)
            rig.open()
            rig.open()
        losses = LossProbe()
        listening = list(probes)
        observer = Observer([losses, *(p() for p in listening)] if listening else [])
        super().__init__(rig, observer, losses, rig.next_batch)
        if clock is not None:
            clock.wind(observer)
        self.limits = Limits(workload.steps)
        self.wall: list[float] = []
        self.cpu: list[float] = []
        began = perf_counter()
        observer.begin(rig, trial)
        self.ends = perf_counter() - began
        self._take_step = self.stepper()

    def one(self, step: int) -> None:
        """The body of ``Loop.run``."""
        self.step = step
        wall, cpu = perf_counter(), thread_time()
        self.observer.step_begins(step)
        self._take_step()
        self.observer.step_ends(step)
        self._step_schedulers()
        if (step + 1) % FLUSH_EVERY == 0:
            self._look(self.limits, None)
        self.cpu.append(thread_time() - cpu)
        self.wall.append(perf_counter() - wall)

    def finish(self) -> None:
        """The end of the trial."""
        began = perf_counter()
        self.observer.end()
        for probe in self.observer.probes:
            probe.filled()
        self.ends += perf_counter() - began


def wanted_probes(which: str) -> list[type[Probe]]:
    """The probes that the default battery's ``train`` trial needs, or all."""
    if which == "all":
        return [probe for probe in all_probes() if probe is not LossProbe]
    terms = Terms()
    planned = plan(registry().values(), terms)
    names = frozenset().union(*(p.wanted for t, p in planned.items() if t.kind == "train"))
    return [p for p in all_probes() if p is not LossProbe and p.channels & names]


def measure(workload: Workload, probes: Sequence[type[Probe]], repeats: int) -> dict[str, Any]:
    """Run all repeats of one workload."""
    runs: dict[str, list[Course]] = defaultdict(list)
    clock, ends = Clock(), Clock()
    for repeat in range(repeats):
        trio = {
            "bare": Course(workload, [], None),
            "watched": Course(workload, probes, None),
            "clocked": Course(workload, probes, clock),
        }
        _move_ends(clock, ends)
        order = list(trio.values())
        for step in range(workload.steps):
            for k in range(3):
                order[(k + step + repeat) % 3].one(step)
        during = dict(clock.seconds)
        for course in order:
            course.finish()
        for name in list(clock.seconds):  # what the end added goes to the ends
            ends.seconds[name] += clock.seconds[name] - during.get(name, 0.0)
            clock.seconds[name] = during.get(name, 0.0)
        for name, course in trio.items():
            runs[name].append(course)
            course.rig = course.observer = None  # type: ignore[assignment]
    return {"runs": runs, "clock": clock.seconds, "ends": ends.seconds}


def _move_ends(clock: Clock, ends: Clock) -> None:
    for name in [n for n in clock.seconds if n.endswith(".begin")]:
        ends.seconds[name] += clock.seconds.pop(name)


def total(courses: Sequence[Course], kind: str) -> float:
    """Seconds of all steps, each the median over the courses."""
    return sum(median(times) for times in zip(*(getattr(c, kind) for c in courses), strict=True))


def ratio(runs: dict[str, list[Course]], kind: str) -> str:
    """Watched / bare, and its range over leaving out one repeat."""

    def of(left_out: int | None) -> float:
        watched, bare = (
            total([c for i, c in enumerate(runs[name]) if i != left_out], kind)
            for name in ("watched", "bare")
        )
        return watched / bare

    repeats = len(runs["bare"])
    others = [of(i) for i in range(repeats)] if repeats > 2 else [of(None)]
    return f"{of(None):.3f} [{min(others):.3f}, {max(others):.3f}]"


@contextmanager
def threads(count: int) -> Any:
    """Torch's threads, or its default for 0."""
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    yield torch.get_num_threads()
    torch.set_num_threads(before)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1, help="torch's threads; 0: its default")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="", help="workloads whose name contains this")
    parser.add_argument("--probes", choices=("battery", "all"), default="battery")
    parser.add_argument("--detail", action="store_true", help="the clocked time by probe and event")
    options = parser.parse_args()
    probes = wanted_probes(options.probes)
    with threads(options.threads) as count:
        print(f"torch {torch.__version__}, {count} thread(s), {options.repeats} repeats")
        print("probes:", ", ".join(p.__name__ for p in probes), "\n")
        print("| training | bare step | budget | ratio, wall | ratio, CPU | hooks | ends |")
        print("|---|---|---|---|---|---|---|")
        for workload in (w for w in WORKLOADS if options.only in w.name):
            found = measure(workload, probes, options.repeats)
            report(workload, found, options.repeats, detail=options.detail)


def report(workload: Workload, found: dict[str, Any], repeats: int, *, detail: bool) -> None:
    """One row, and the clocked time by probe on request."""
    runs = found["runs"]
    bare = sum(sum(c.wall) for c in runs["bare"]) / repeats
    hooks = sum(found["clock"].values()) / repeats
    ends = median(c.ends for c in runs["watched"]) - median(c.ends for c in runs["bare"])
    print(
        f"| {workload.name}, {workload.steps} steps | {1e3 * bare / workload.steps:.2f} ms "
        f"| {workload.budget} | {ratio(runs, 'wall')} | {ratio(runs, 'cpu')} "
        f"| {1 + hooks / bare:.3f} | {ends / bare:.1%} |",
        flush=True,
    )
    if detail:
        for title in ("clock", "ends"):
            rows = sorted(found[title].items(), key=lambda row: -row[1])
            for name, seconds in rows[:14]:
                print(f"    {title} {name:45} {seconds / repeats / bare:8.2%}"
                      f" {1e6 * seconds / repeats / workload.steps:9.1f} us/step")  # fmt: skip


if __name__ == "__main__":
    main()
