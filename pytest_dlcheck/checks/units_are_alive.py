"""Units are alive: no layer of activations is dead or saturated for every sample."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from pytest_dlcheck.check import Check, Effect, Evidence, Example, example_trace
from pytest_dlcheck.faults.dynamics import activation as faults
from pytest_dlcheck.faults.dynamics.activation import Layer
from pytest_dlcheck.trace import Matrix, Row, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Outcome, Verdict


@dataclass(frozen=True)
class UnitsAreAlive(Check):
    """The training keeps its units alive: no layer of them is dead or saturated for every sample.

    **Why it matters.** A unit whose activation is flat for every sample passes no gradient back: neither
    it nor what feeds it can learn. Where a whole layer is so, nothing behind it sees the inputs.

    **How it decides.** After the last step up to 256 samples, of data that was not trained on where
    there is such, pass in train mode, fewer where every unit soon shows that it lives. A unit of a
    rectifier (ReLU, and GELU or SiLU far below 0) is silent where its slope is 0 for all samples and
    positions; a channel is one unit. Sigmoid and tanh are measured by the share of values where their
    slope has fallen below 1 % of its best. A layer that is silent or saturated almost entirely fails,
    unless it is a squashed output, which is meant to make up its mind; much less is advice. Whether it
    was so before the training tells the cause: an initialisation, or steps that were too large; a layer
    that dies without large steps, as where nothing can be learned, is inconclusive.

    **What it cannot see.** The inside of compiled models and of torch's recurrent modules, or
    activations written out by hand: it judges activations that follow weights inside a module's forward.

    **Source.** Lu et al., "Dying ReLU and initialization" (2019); Glorot & Bengio (2010) for saturation.
    """

    family: ClassVar = "dynamics"
    reads: ClassVar = frozenset({"units"})
    glances: ClassVar = frozenset({"signal", "update_norm", "parameter_norm", "fixed_loss", "loss"})
    shows: ClassVar = Effect.SIGNAL
    leads_to: ClassVar = frozenset(
        {Effect.INPUTS, Effect.GRADIENTS, Effect.FITTING, Effect.PROGRESS, Effect.LEARNING}
        | {Effect.GENERALIZATION}
    )

    dead: float = 0.95
    """Share of silent units in a layer (ratio) from which on it fails. The worst layer of 154 healthy
    models has 0.69 after their training, the next one 0.52."""
    many: float = 0.8
    """The same, for advice."""
    open_values: float = 0.05
    """Share of values of a sigmoid or tanh that are not saturated (ratio), below which its layer
    fails. The least of the healthy models is 0.33."""
    large_step: float = 0.15
    """Update over weights (ratio) of the largest step from which on the training counts as the one
    that killed them. Seven of 154 healthy models, linear ones and LBFGS among them, have larger ones;
    none of those kills a layer. On data that nothing can be learned from, smaller ones do."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """One batch to see how units start, a short training to see what becomes of them."""
        return (terms.inspect(), *terms.train())

    def decide(self, evidence: Evidence) -> Verdict:
        """The worst layer decides."""
        still = evidence.the("inspect")
        found, advice = [], []
        for trace in evidence.of("train"):
            layers = faults.layers(trace, still)
            lost = [layer for layer in layers if self._is_lost(layer)]
            first = next((layer for layer in lost if self._was_lost(layer)), None)
            if first or (lost and self._is_wild(trace)):
                bound = 1 - self.open_values if (first or lost[0]).squashes else self.dead
                fault = faults.lost(first, lost, len(layers), bound)
                return self.failed_by(fault, *([Effect.UPDATES] if first else []))
            if lost:
                return self.inconclusive(faults.died_in_peace(lost[0], trace, self.large_step))
            advice += [faults.advice(layer) for layer in layers if self._is_thin(layer)]
            found += layers
        if not found:
            return self.not_applicable("no activation that can die or saturate follows weights")
        worst = max(found, key=lambda layer: layer.silent)
        return self.passed(
            f"at most {worst.silent:.0%} of a layer's units let no gradient through for any sample "
            f"({worst.feeder}; a layer is dead from {self.dead:.0%})",
            Measure("silent units of a layer", worst.silent, "ratio", self.dead),
            advice=advice,
        )

    def _is_lost(self, layer: Layer) -> bool:
        if layer.squashes:
            return layer.active < self.open_values and not layer.row.flag("output")
        return layer.silent >= self.dead

    def _is_thin(self, layer: Layer) -> bool:
        return not layer.squashes and layer.silent >= self.many

    def _was_lost(self, layer: Layer) -> bool:
        start = layer.start
        return start is not None and self._is_lost(Layer(start, None, Row(), Row()))

    def _is_wild(self, trace: Trace) -> bool:
        """Whether the training itself is to blame: where nothing can be learned, units die in peace."""
        return faults.longest_step(trace) > self.large_step or faults.rises(trace)

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Half of the values are open; a sigmoid output that has made up its mind."""
        yield Example("half open", _example(_units(silent=11), _units(silent=3)))
        sure = _units(function="sigmoid", active=0.01, silent=9, output=True)
        yield Example("sure output", _example(sure, sure))
        gone = _example(_units(silent=16, active=0.0), _units(silent=2))
        yield Example("died in peace", gone, outcome=Outcome.INCONCLUSIVE)

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Dead from the start, killed by the training, saturated."""
        dead, well = _units(silent=16, active=0.0), _units(silent=2)
        yield Example("dead from the start", _example(dead, dead), ("body.0", "body.1"))
        yield Example("killed", _example(dead, well, step=0.9), ("body.0", "body.1"))
        flat = _units(function="tanh", active=0.01, silent=2)
        yield Example("saturated", _example(flat, flat), ("body.0", "body.1"))


def _units(**more: float | str | bool) -> Row:
    row = Row(site="body.1", feeder="body.0", function="relu", units=16, active=0.5, samples=256)
    return Row(row, **more)


def _example(after: Row, before: Row, step: float = 0.01) -> tuple[Trace, Trace]:
    weights = Row(site="body.0", gain=0.6, input_rms=1.0, bias_mean=0.0)
    still = example_trace(Terms().inspect(), units=before, signal=weights)
    moved, sizes = (Matrix((0,), ("body.0.weight",), ((size,),)) for size in (step, 1.0))
    ran = example_trace(units=after, signal=weights, update_norm=moved, parameter_norm=sizes)
    return still, ran
