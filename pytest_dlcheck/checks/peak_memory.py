"""The gate `peak_memory`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from pytest_dlcheck.baseline import NO_BASELINE, Baseline
from pytest_dlcheck.check import Example, example_trace
from pytest_dlcheck.gating.flaws import Flaw
from pytest_dlcheck.gating.pace import Quantity
from pytest_dlcheck.gating.processes import ProcessGate, Setting
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.trial import Trial
from pytest_dlcheck.verdict import Measure


@dataclass(frozen=True)
class PeakMemory(ProcessGate):
    """A training step takes no more memory than it may.

    The most that torch holds for its tensors at once during a training step that is warm, parameters,
    gradients, optimizer state, activations and one batch together: at most a number, or no more than
    before, or than another commit.

    **Why it matters.** Memory decides which batch size and which GPU a model needs, and one retained
    graph or one activation kept too long decides it anew.

    **How it decides.** On CUDA: `torch.cuda.max_memory_allocated` over steps that are warm, without the
    batches that only lie ready. On the CPU: the bytes of all tensors that outlive a step, and on top of
    them the highest sum of allocations and releases that torch's profiler reports within one step.
    Both hardly differ from process to process, so that two processes are asked for; the rules are
    those of `throughput`.

    **What it cannot see.** What is not torch's: the CUDA context, libraries' own workspaces, the data
    set. Fragmentation, and what the caching allocator reserves. By how much the whole process grew at
    its peak, the recipe's data and torch's own code included, is told beside it on the CPU and not
    judged. Backends that do not tell what a step takes are inconclusive.

    **Source.** PyTorch's documentation of CUDA memory management and of `torch.profiler`.
    """

    at_most: float | None = None
    """Bytes that a step may take at its peak; None for no such number. The recipe's policy gives it."""
    margin: float = 0.03
    """How much more does not matter (ratio): about a layer's activations of thirty."""
    processes: int = 2
    """Fresh processes of a measurement (count): they agree to the byte, or more are asked for."""
    pairs: int = 2
    """Fresh processes a side against another commit (count), at first."""
    most: int = 5
    """Fresh processes at most (count), where the first ones do not decide."""
    most_pairs: int = 10
    """Fresh processes a side at most against another commit (count)."""
    batch_sizes: tuple[int | None, ...] = (None,)
    """Samples of a batch (count), each judged by itself; None for the recipe's own."""
    precisions: tuple[str | None, ...] = (None,)
    """As a recipe names them, each judged by itself; None for the recipe's own."""
    baseline: Baseline = NO_BASELINE
    """What was measured before; the session looks it up."""

    reads = frozenset({"step_memory"})
    kind = "bench_train"

    @property
    def bound(self) -> float | None:
        """Bytes that a step may take."""
        return self.at_most

    def quantity(self, setting: Setting, traces: Sequence[Trace]) -> Quantity:
        """What is measured."""
        del traces
        return Quantity(f"peak memory{setting}", "bytes", "<=", "more")

    def value(self, trace: Trace) -> float:
        """What one process says."""
        return trace.row("step_memory").number("bytes")

    def flaw(self, trace: Trace) -> Flaw | None:
        """A process that was asked for its times alone."""
        return (
            None if trace.row("step_memory") else Flaw("the memory of a step was not measured (0 of 1)")
        )

    def beside(self, setting: Setting, traces: Sequence[Trace]) -> Iterable[Measure]:
        """By how much the process grew."""
        grown = [trace.row("step_memory").number("resident") for trace in traces]
        known = tuple(value for value in grown if value >= 0)
        if known:
            yield Measure(f"process growth{setting}", fmean(known), "bytes", samples=known)

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Examples that pass."""
        yield Example("as much as base", _pairs(1.0))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Examples that fail."""
        yield Example("a graph is kept", _pairs(1.9))


def _pairs(ratio: float) -> tuple[Trace, ...]:
    """Two processes a side, the head taking so many times as much."""
    return tuple(
        example_trace(
            Trial("bench_train", replicate=number, revision=revision),
            step_memory=Row(bytes=float(round(2**26 * times)), source="torch's CUDA allocator"),
        )
        for number in range(2)
        for revision, times in (("", ratio), ("3f2a1c", 1.0))
    )
