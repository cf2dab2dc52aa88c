"""The gate `latency`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from pytest_dlcheck.baseline import NO_BASELINE, Baseline
from pytest_dlcheck.check import Example, example_trace
from pytest_dlcheck.gating.pace import Quantity
from pytest_dlcheck.gating.processes import ProcessGate, Setting
from pytest_dlcheck.trace import Row, Series, Trace
from pytest_dlcheck.trial import Trial
from pytest_dlcheck.verdict import Measure


@dataclass(frozen=True)
class Latency(ProcessGate):
    """One forward pass answers as fast as it must.

    Seconds that a caller waits for one forward pass in eval and inference mode, of one sample where
    samples stand alone, else of a whole batch: at most a number, or no slower than before, or than
    another commit.

    **Why it matters.** What a model costs to serve is seldom looked at while it is trained.

    **How it decides.** A fresh process warms up until its last ten calls agree (IQR/median < 0.1, or
    noise without a drift), then times calls one by one, each until its result is there, on a CPU going
    round up to five copies of the recipe; its median is one observation, and the 95th percentile is
    told beside it. Three such processes are held against
    `at_most`, or against earlier runs; five pairs, in turns, against another commit. The rules are
    those of `throughput`: it fails where an error of 1 % says so and the margin is passed; what is not
    decided asks for more processes, up to a bound, and then is inconclusive.

    **What it cannot see.** Whatever stands before and after the model: decoding, batching, the
    network. A model that was exported or compiled elsewhere. Rare slow calls, beyond the 95th
    percentile of a few hundred.

    **Source.** Georges, Buytaert & Eeckhout (2007), Kalibera & Jones (2013), Hahn & Meeker (1991).
    """

    at_most: float | None = None
    """Seconds that one pass may take; None for no such number. The recipe's policy gives it."""
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
    """Samples of a pass (count), each judged by itself; None for one sample."""
    precisions: tuple[str | None, ...] = (None,)
    """As a recipe names them, each judged by itself; None for the recipe's own."""
    baseline: Baseline = NO_BASELINE
    """What was measured before; the session looks it up."""

    reads = frozenset({"call_seconds"})
    kind = "bench_infer"

    @property
    def bound(self) -> float | None:
        """Seconds that one pass may take."""
        return self.at_most

    def quantity(self, setting: Setting, traces: Sequence[Trace]) -> Quantity:
        """What is measured."""
        del traces
        return Quantity(f"latency{setting}", "s", "<=", "slower")

    def value(self, trace: Trace) -> float:
        """What one process says."""
        return median(trace.series("call_seconds").values)

    def blocks(self, trace: Trace) -> Sequence[float]:
        """Each call by itself."""
        return trace.series("call_seconds").values

    def beside(self, setting: Setting, traces: Sequence[Trace]) -> Iterable[Measure]:
        """What the slowest calls but one of twenty take."""
        slow = tuple(trace.row("timing").number("slow_seconds") for trace in traces)
        yield Measure(f"latency p95{setting}", median(slow), "s", samples=slow)

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Examples that pass."""
        yield Example("as fast as base", _pairs(1.0))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Examples that fail."""
        yield Example("8 % slower than base", _pairs(1.08))


def _pairs(ratio: float) -> tuple[Trace, ...]:
    """Five processes a side, the head's calls so many times as long."""
    noise = (1.0, 1.005, 0.996, 1.001, 0.998)
    return tuple(
        example_trace(
            Trial("bench_infer", replicate=number, revision=revision),
            call_seconds=Series((0, 1, 2), tuple(0.002 * times * part for part in (0.99, 1.0, 1.02))),
            timing=Row(samples=1, settled=True, spread=0.02, slow_seconds=0.0021 * times),
        )
        for number, one in enumerate(noise)
        for revision, times in (("", one * ratio), ("3f2a1c", one))
    )
