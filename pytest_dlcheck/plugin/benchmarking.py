"""Gates beside other plugins: pytest-benchmark is given what was timed, reruns of a gate are refused.

Nothing is measured here, and of pytest-benchmark only its fixture is used.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from statistics import median
from typing import Any

import pytest

from pytest_dlcheck.plugin.items import CheckItem
from pytest_dlcheck.session import Examination, gate_checks
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.trial import Trial

TIMED = {"throughput": ("bench_train", "step_seconds"), "latency": ("bench_infer", "call_seconds")}
"""Gates whose times pytest-benchmark is given: the kind of trial and the channel that they are in."""


class Benchmarking:
    """Lets gates on speed take part in pytest-benchmark's session, where that is installed.

    Args:
        config: pytest's.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._there = config.pluginmanager.has_plugin("benchmark")

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: Sequence[pytest.Item]) -> None:
        """Let ``--benchmark-only`` and ``--benchmark-skip`` know these items for benchmarks.

        Not in a worker: there pytest-benchmark would say that it measures nothing, while we do.
        """
        if not self._there or "PYTEST_XDIST_WORKER" in os.environ:
            return
        for item in items:
            if isinstance(item, CheckItem) and item.check in TIMED:
                item.fixturenames = [*item.fixturenames, "benchmark"]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Refuse what would make a gate pass by chance; give away what it has timed."""
        if isinstance(item, CheckItem) and item.check in gate_checks():
            _refuse_reruns(item)
        if not (self._there and isinstance(item, CheckItem) and item.check in TIMED):
            return (yield)
        self._skip_as_asked()
        try:
            return (yield)
        finally:
            settings = timings(item.examination, item.check)
            if settings:
                _replay(item, settings)

    def _skip_as_asked(self) -> None:
        given = vars(self._config.option).get
        if given("benchmark_skip") and not given("benchmark_only"):
            pytest.skip("not measured: --benchmark-skip")
        if given("benchmark_disable") and not given("benchmark_enable"):
            pytest.skip("not measured: --benchmark-disable")


@dataclass(frozen=True, slots=True)
class Timing:
    """What the processes of one setting have measured of the code at hand.

    Attributes:
        trial: the first of them.
        seconds: of one step or call, the median of each process.
        row: what the first one says of itself.
    """

    trial: Trial
    seconds: tuple[float, ...]
    row: Row

    @property
    def label(self) -> str:
        """The setting, in words; empty for the recipe's own."""
        size, precision = self.trial.batch_size, self.trial.precision
        parts = ([f"batches of {size}"] if size is not None else []) + ([precision] if precision else [])
        return ", ".join(parts)

    @property
    def samples_per_second(self) -> float | None:
        """By the median of the processes; None where samples cannot be counted."""
        samples = self.row.integer("samples")
        return samples / median(self.seconds) if samples else None

    def extra_info(self) -> dict[str, Any]:
        """What pytest-benchmark is to keep beside the times."""
        names = ("device", "device_name", "batch_size", "dtype", "precision", "threads")
        told = {name: self.row[name] for name in names if self.row.get(name) not in {None, ""}}
        return {"samples_per_second": self.samples_per_second, **told, "processes": len(self.seconds)}


def timings(examination: Examination, check: str) -> tuple[Timing, ...]:
    """What was timed for a check, a timing per setting."""
    kind, channel = TIMED[check]
    settings: dict[tuple[Any, ...], list[Trace]] = {}
    for trial, trace in examination.traces.items():
        if trial.kind == kind and not trial.revision and len(trace.series(channel)):
            settings.setdefault((trial.batch_size, trial.precision), []).append(trace)
    return tuple(
        Timing(
            traces[0].trial,
            tuple(median(trace.series(channel).values) for trace in traces),
            traces[0].row("timing"),
        )
        for traces in settings.values()
    )


class Replay:
    """A clock that goes by what was measured elsewhere.

    Args:
        seconds: by how much each call of :meth:`advance` moves it.
    """

    __name__ = "pytest_dlcheck"

    def __init__(self, seconds: Iterable[float]) -> None:
        self._seconds, self._now = iter(seconds), 0.0

    def __call__(self) -> float:
        """Seconds since it was made."""
        return self._now

    def advance(self) -> None:
        """Let the next measured time pass."""
        self._now += next(self._seconds, 0.0)


def _replay(item: CheckItem, settings: Sequence[Timing]) -> None:
    """One round per process of the first setting; the others stand beside it.

    pytest-benchmark keeps one entry per test.
    """
    first, *others = settings
    clock, marker = Replay(first.seconds), item.get_closest_marker("benchmark")
    kept = {"group": f"dlcheck: {item.check}", **(marker.kwargs if marker else {})}
    item.add_marker(pytest.mark.benchmark(**{**kept, "timer": clock}), append=False)
    benchmark = item._request.getfixturevalue("benchmark")  # noqa: SLF001  it has none that is public
    if not hasattr(benchmark, "extra_info"):
        return  # another plugin's fixture of that name
    benchmark.name = f"{item.subject.name}::{item.check}"  # an item's own name lacks the recipe's
    benchmark.extra_info.update(first.extra_info())
    if others:
        benchmark.extra_info["others"] = {timing.label: timing.extra_info() for timing in others}
    benchmark.pedantic(clock.advance, rounds=len(first.seconds), iterations=1)


def _refuse_reruns(item: CheckItem) -> None:
    """A gate that is tried until it passes decides nothing."""
    if not item.config.pluginmanager.has_plugin("rerunfailures"):
        return
    plugin: Any = import_module("pytest_rerunfailures")
    if reruns := plugin.get_reruns_count(item):
        pytest.fail(
            f"{item.check} is a gate, and pytest-rerunfailures would run it up to {reruns + 1} times "
            "until it passes: that is no evidence, and the gate takes more samples by itself where it "
            "needs them. Mark the recipe with @pytest.mark.flaky(reruns=0), or leave out --reruns",
            pytrace=False,
        )
