"""The gate `throughput`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from pytest_dlcheck.baseline import NO_BASELINE, Baseline
from pytest_dlcheck.check import Example, example_trace
from pytest_dlcheck.gating.pace import Quantity
from pytest_dlcheck.gating.processes import ProcessGate, Setting
from pytest_dlcheck.trace import Row, Series, Trace
from pytest_dlcheck.trial import Trial
from pytest_dlcheck.verdict import Measure


@dataclass(frozen=True)
class Throughput(ProcessGate):
    """Training steps are as fast as they must be.

    Samples per second of whole training steps (forward, loss, backward, clipping, optimizer) on batches
    that lie ready on the device: at least a number, or no slower than before, or than another commit.

    **Why it matters.** A step that is 6 % slower goes unnoticed in review, and is paid for on every run.

    **How it decides.** A fresh process without any probe warms up until its last ten measurements agree
    (IQR/median < 0.1, or noise without a drift), then times blocks of steps, with one synchronisation a
    block and events on CUDA; its median is one observation. On a CPU the blocks go round up to five
    copies of the recipe, whose tensors lie in other places: one layout of memory is luck. Three such
    processes are held against `at_least`: it fails where even the better end of their one-sided interval
    misses the number. Against earlier runs it fails where two measurements of three processes each lie
    beyond the 99 % prediction limit of the last 20 runs and beyond the margin. Against another commit,
    processes run in pairs, one of each commit, which take turns every 20 ms, so that both feel what else
    the machine does: the median ratio of their blocks is one observation. It fails where a one-sided t
    test over five pairs says so and the ratio is beyond the margin (Welch's test, where they could not
    run at the same time, as on a GPU). What is not decided asks for more processes, up to a bound; then
    it is inconclusive. All looks together fail wrongly once in a hundred times.

    **What it cannot see.** Loading: the same steps on batches as the loader gives them are told beside
    it and not judged. Schedulers do not step. Slow drifts from commit to commit, each within the margin.
    A recipe with a loop of its own (`train=`) has no steps that could be timed by themselves. To
    history and to a number, a machine that is slow today looks like slow code; side by side with
    another commit both feel it.

    **Source.** Between-process variation as the unit: Georges, Buytaert & Eeckhout (2007), Kalibera &
    Jones (2013). Layouts: Mytkowicz et al. (2009), Curtsinger & Berger (2013). Pairs that feel the same:
    Bulej et al. (2020). Prediction limits: Hahn & Meeker (1991). Welch (1947).
    """

    at_least: float | None = None
    """Samples/s that must be reached; None for no such number. The recipe's policy gives it."""
    margin: float = 0.03
    """How much slower does not matter (ratio): fresh processes of the same code vary by 1 to 3 %, and
    what is finer than that takes many of them to tell."""
    processes: int = 3
    """Fresh processes of a measurement (count): the fewest that tell a spread and a mean."""
    pairs: int = 5
    """Fresh processes a side against another commit (count), at first."""
    most: int = 7
    """Fresh processes at most (count), where the first ones do not decide."""
    most_pairs: int = 15
    """Fresh processes a side at most against another commit (count)."""
    batch_sizes: tuple[int | None, ...] = (None,)
    """Samples of a batch (count), each judged by itself; None for the recipe's own."""
    precisions: tuple[str | None, ...] = (None,)
    """As a recipe names them, each judged by itself; None for the recipe's own."""
    baseline: Baseline = NO_BASELINE
    """What was measured before; the session looks it up."""

    reads = frozenset({"step_seconds"})
    kind = "bench_train"

    @property
    def bound(self) -> float | None:
        """Samples/s that must be reached."""
        return self.at_least

    def quantity(self, setting: Setting, traces: Sequence[Trace]) -> Quantity:
        """What is measured."""
        counted = all(not math.isnan(trace.row("timing").number("samples")) for trace in traces)
        unit = "samples/s" if counted else "steps/s"
        return Quantity(f"throughput{setting}", unit, ">=", "slower")

    def value(self, trace: Trace) -> float:
        """What one process says."""
        return _per_second(trace, median(trace.series("step_seconds").values))

    def blocks(self, trace: Trace) -> Sequence[float]:
        """The same of each block of steps."""
        return [_per_second(trace, seconds) for seconds in trace.series("step_seconds").values]

    def beside(self, setting: Setting, traces: Sequence[Trace]) -> Iterable[Measure]:
        """The same on batches as the loader gives them."""
        values = [_per_second(t, t.row("timing").number("loaded_seconds")) for t in traces]
        known = tuple(value for value in values if value > 0)
        if known:
            unit = self.quantity(setting, traces).unit
            yield Measure("throughput with loading", fmean(known), unit, sense=">=", samples=known)

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Examples that pass."""
        yield Example("as fast as base", _pairs(1.0))
        yield Example("faster than base", _pairs(0.9))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Examples that fail."""
        yield Example("10 % slower than base", _pairs(1.1))


def _per_second(trace: Trace, seconds: float) -> float:
    samples = trace.row("timing").number("samples")
    return (1.0 if math.isnan(samples) else samples) / seconds if seconds > 0 else math.nan


def _pairs(ratio: float) -> tuple[Trace, ...]:
    """Five processes a side, the head's steps so many times as long."""
    noise = (1.0, 1.004, 0.997, 1.002, 0.999)
    return tuple(
        example_trace(
            Trial("bench_train", replicate=number, revision=revision),
            step_seconds=Series((0, 1, 2), tuple(0.01 * times * part for part in (0.99, 1.0, 1.01))),
            timing=Row(samples=64, settled=True, spread=0.02),
        )
        for number, one in enumerate(noise)
        for revision, times in (("", one * ratio), ("3f2a1c", one))
    )
