"""Contract: initial weights let units differ, and the signal arrive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from pytest_dlcheck.check import Check, Effect, Evidence, Example, example_trace
from pytest_dlcheck.faults.contract import initialization as faults
from pytest_dlcheck.faults.contract.initialization import OUTPUT, Signal
from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Verdict


@dataclass(frozen=True)
class InitializationIsSound(Check):
    """The training starts from weights that let units differ and the signal arrive.

    **Why it matters.** Units that start alike and get the same gradients stay one unit. A signal that
    shrinks to nothing on its way leaves the output without an input; one that grows makes confident
    nonsense.

    **How it decides.** Where all units of a layer hold the same weights, a few steps are taken by the
    gradients of one batch: it fails if they are still pulled alike, or not at all, or if units that were
    copies differ in one direction only after the training. Zero-initialised heads, residual branches and
    adapters part at once, and pass. The signal is measured as it passes, normalisations included: how
    far samples differ before the deepest layer, how many hidden sigmoids and tanhs are saturated, how
    large outputs are beside what the loss knows. A lost or saturated signal (half saturated, where the
    loss starts as nonsense and weights are far too large) fails only if the training has not mended
    it, outputs only if weights rather than raw inputs enlarge them. How variances stand
    to those of He or Glorot alone decides nothing. Attention that is sure of one place is advice.

    **What it cannot see.** The inside of compiled models and of torch's recurrent modules. Layers that
    are dead from the start are the business of units_are_alive.

    **Source.** Glorot & Bengio (2010); He et al. (2015); Goodfellow et al., "Deep learning", 8.4.
    """

    family: ClassVar = "contract"
    reads: ClassVar = frozenset({"symmetry"})
    glances: ClassVar = frozenset({"signal", "units", "initial_loss"})
    leads_to: ClassVar = frozenset(
        {Effect.SIGNAL, Effect.OUTPUTS, Effect.INPUTS, Effect.START, Effect.GRADIENTS, Effect.STABILITY}
        | {Effect.UPDATES, Effect.FITTING, Effect.PROGRESS, Effect.LEARNING, Effect.GENERALIZATION}
    )
    judges_divergence: ClassVar = True

    least: float = 1e-4
    """What must be left of the difference between samples at the deepest layer (ratio, and in the
    unit of activations). 154 healthy models keep 7e-3 and 3e-3; float32 resolves 1e-7."""
    together: float = 0.6
    """Share of the differences between units that started as copies, zeros apart, which lies along one
    direction after the training (ratio): 0.7 to 0.9 in LSTMs of constants, up to 0.3 in random ones."""
    tell: float = 1e-3
    """Difference between the samples of a batch, relative to their size, that can be lost (ratio)."""
    open_values: float = 0.05
    """Share of values of hidden sigmoids and tanhs that are not saturated (ratio). The healthy: 0.33."""
    dead: float = 0.95
    """Share of silent units (ratio) from which on a layer is dead, and the signal's end is its doing."""
    most: float = 20.0
    """Spread of logits, or outputs over targets (ratio), that are over-scaled; the healthy: below 10."""
    worse: float = 2.0
    """Loss over that of no knowledge (ratio) from which on that is nonsense, as starts_uninformed."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """One batch to see how the signal starts, a short training to see whether it is mended."""
        return (terms.inspect(), *terms.train())

    def decide(self, evidence: Evidence) -> Verdict:
        """Symmetry, then lost signals, then those that have grown."""
        still = evidence.the("inspect")
        if fault := next(self._faults(still, evidence.of("train")), None):
            return self.failed_by(fault)
        if cut := next((t for t in evidence.of("train") if t.ending.kind == "diverged"), None):
            return self.inconclusive(f"the training diverged at step {cut.ending.step}")
        count = still.row("symmetry").integer("layers")
        return self.passed(
            f"0 of {count} layers have units that stay alike (0 expected)",
            Measure("layers of equal units", 0, "count", 0),
            advice=filter(None, self._advice(still)),
        )

    def _faults(self, still: Trace, trains: tuple[Trace, ...]) -> Iterator[Fault]:
        symmetry, signal = still.rows("symmetry"), Signal(still.rows("signal"))
        ends = [t for t in trains if t.ending.kind != "diverged"]
        parted = {r.text("site") for t in ends for r in t.rows("symmetry") if r.get("still") is False}
        if stuck := [r for r in symmetry[1:] if r.flag("stuck") and r.text("site") not in parted]:
            yield faults.symmetric(stuck, symmetry[0].integer("layers"))
        copies = {row.text("site") for row in symmetry[1:]}
        for trace in trains:
            rows = [row for row in trace.rows("symmetry") if row.text("site") in copies]
            if rows := [row for row in rows if row.number("together") > self.together]:
                yield faults.together(rows, self.together)
        if not signal.measured:
            return
        if self._is_lost(signal) and (signal.single or not self._is_dead(still)):
            after = [Signal(t.rows("signal")) for t in ends]
            if all(end.left(signal.deepest.text("site"), signal.first) < self.least for end in after):
                yield faults.faint(signal, still.rows("units"), self.least)
        yield from faults.flat(still, ends, self.open_values, self.worse)
        for row in still.rows("initial_loss"):
            ratio, scale = faults.loss_ratio(row), faults.output_scale(row)
            if ratio > self.worse and scale > self.most:
                yield from filter(None, [faults.over_scaled(signal, row, ratio, self.most, scale)])

    def _is_lost(self, signal: Signal) -> bool:
        begins = faults.contrast(signal.first) > self.tell
        return begins and signal.left(signal.deepest.text("site"), signal.first) < self.least

    def _is_dead(self, still: Trace) -> bool:
        rows = still.rows("units")
        return any(row.integer("silent") >= self.dead * row.integer("units", 1) for row in rows)

    def _advice(self, still: Trace) -> Iterator[str]:
        yield from map(faults.alike, still.rows("symmetry")[1:])
        signal = Signal(still.rows("signal"))
        if signal.measured and self._is_lost(signal) and not self._is_dead(still):
            yield faults.shrinking(signal)
        yield from faults.that_stands_out(signal)

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """All units differ; a zero-initialised head that parts at its first step."""
        yield Example("random", _example())
        head = Row(site="head", units=10, value=0.0, constant=True, stuck=False, by_chance=False)
        yield Example("zero head", _example(head))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Constants, a signal that is lost, weights that are too large."""
        same = Row(site="body.0", units=16, value=0.5, constant=True, stuck=True, by_chance=False)
        yield Example("constant", _example(same), ("body.0",))
        yield Example("lost", _example(gain=1e-3, spread=1e-9), ("body.0",))
        yield Example("large", _example(gain=40.0, loss=900.0, logits=400.0), ("body.0",))


def _example(
    *alike: Row, gain: float = 1.0, spread: float = 0.4, loss: float = 2.4, logits: float = 0.4
) -> tuple[Trace, Trace]:
    given = {"gain": gain, "trains": True, "output_rms": 1.0}
    first = Row(given, site="body.0", depth=1, input_rms=1.0, input_spread=0.9)
    last = Row(given, site="head", depth=4, input_rms=1.0, input_spread=spread)
    ends = Row(site=OUTPUT, input_rms=1.0, input_spread=spread)
    start = Row(kind="cross_entropy", loss=loss, uninformed=2.3, spread=logits)
    counted = (Row(site="", layers=4), *alike)
    still = {"symmetry": counted, "signal": (first, last, ends), "initial_loss": start}
    return example_trace(Terms().inspect(), **still), example_trace(signal=(first, last, ends))
