"""Every parameter that gets a gradient is in exactly one optimizer, and nothing stale is in any."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_dlcheck.check import Check, Effect, Evidence, Example, example_trace
from pytest_dlcheck.faults.contract import coverage as faults
from pytest_dlcheck.faults.contract.coverage_examples import row_of
from pytest_dlcheck.faults.contract.successors import left_behind
from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Verdict


@dataclass(frozen=True)
class OptimizerCoversModel(Check):
    """Every parameter that gets a gradient is in exactly one optimizer, and nothing stale is in any.

    **Why it matters.** What no optimizer holds never trains, silently: a head replaced after the
    optimizer was built, a layer forgotten in a hand-written list, a loss with weights of its own.

    **How it decides.** By walking the autograd graph of each loss to its leaves and holding them against
    the groups of the optimizers. It fails on: parameters with a gradient in no optimizer; parameters in
    an optimizer that no module holds and no loss reaches (stale copies); parameters that two optimizers
    step on one loss, or on two where one of them holds all that the other holds and more, or that share
    their memory without being one; an optimizer whose parameters are all frozen; frozen layers in an
    optimizer that `frozen=` does not declare, where it declares others, or that stand alone, at their
    random initialisation, among layers that train. A frozen table of random numbers is advice. On a
    watched loop, too, on a part that came into the model while it was trained, freshly drawn or in the
    place of another, and that nothing steps, or on a copy of the model, or a new one, in its place.

    Training only what lies downstream of the parameters left out is feature extraction, and advice,
    unless those are evidently at their random initialisation (uniform, or normal with a usual
    standard deviation): nobody means to extract features with those. On a watched loop that holds of
    modules, too, that a trained model calls and does not hold: layers in a plain list. Layers of it
    are those whose results its trained layers work on, or with which it ends.

    **What it cannot see.** Gradients inside reentrant checkpoints. Parameters in an optimizer that get
    no gradient in this one pass are `gradients_flow`'s business.

    **Source.** PyTorch documentation of `torch.optim` ("constructing it"); TrainCheck, OSDI 2025.
    """

    family = "contract"
    reads = frozenset({"coverage"})
    judges_divergence = True
    leads_to = frozenset(
        {Effect.GRADIENTS, Effect.UPDATES, Effect.FITTING, Effect.PROGRESS, Effect.LEARNING}
        | {Effect.GENERALIZATION}
    )

    few: float = 0.25
    """Share of a model's layers up to which frozen ones count as exceptions; chosen."""
    fresh: float = 0.8
    """Share of the weights left out that must look untrained; chosen, as initialisations vary."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """One batch, no training."""
        return (terms.inspect(),)

    def decide(self, evidence: Evidence) -> Verdict:
        """The verdict on each way in which optimizers and model can miss each other."""
        rows = evidence.the("inspect").rows("coverage")
        left_out = [row for row in rows if faults.is_left_out(row)]
        if idle := faults.idle_optimizer(rows):
            return self.failed_by(faults.frozen(idle, "the whole optimizer is frozen"), Effect.RUN)
        if fault := self._missed(rows, left_out) or faults.overlap(rows):
            return self.failed_by(fault)
        if frozen := self._frozen_by_mistake(rows):
            return self.failed_by(faults.frozen(frozen, "it was frozen by mistake"))
        reached = sum(row.flag("gets_gradient") for row in rows)
        return self.passed(
            f"0 of {reached} parameters that get a gradient are in no optimizer by mistake (bound 0)",
            Measure("parameters left out of the optimizers by mistake", 0, "count", 0),
            advice=faults.advice_on(rows, left_out),
        )

    def _missed(self, rows: Sequence[Row], left_out: list[Row]) -> Fault | None:
        if late := left_behind(rows) or faults.came_late(rows, self.fresh):
            return late
        stale = [row for row in rows if faults.is_stale(row)]
        left_out = [row for row in left_out if not row.flag("came_late")]
        hidden = [row for row in left_out if faults.is_hidden(row)]
        if hidden and not stale and faults.are_untrained(hidden, self.fresh):
            return faults.hidden(rows, hidden)
        if stale or (left_out and self._is_mistake(rows, left_out)):
            return faults.missed(rows, left_out, stale)
        return None

    def _is_mistake(self, rows: Sequence[Row], left_out: list[Row]) -> bool:
        covered = [row for row in rows if row.integer("optimizers") and row.flag("gets_gradient")]
        if not covered or any(row.text("origin") == "loss" for row in left_out):
            return True
        if faults.are_beside_layers(rows, left_out):
            return True
        first = min(row.integer("order") for row in covered)
        if any(row.integer("order") > first for row in left_out):
            return True
        return faults.are_untrained(left_out, self.fresh)

    def _frozen_by_mistake(self, rows: Sequence[Row]) -> list[Row]:
        frozen = [row for row in rows if faults.is_frozen(row)]
        if any(row.flag("declared_frozen") for row in rows):
            return frozen
        layers = {row.text("module") for row in rows if row.flag("layer")}
        alone = {row.text("module") for row in frozen}
        trained = [row.integer("order") for row in rows if row.flag("gets_gradient")]
        fresh = [row for row in frozen if row.flag("untrained")]
        late = [row for row in fresh if trained and row.integer("order") > min(trained)]
        parents = [name.rpartition(".")[0] for name in alone]
        scattered = len(parents) == len(set(parents))
        return late if scattered and len(alone) <= max(1, self.few * len(layers)) else []

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Covered, frozen, feature extraction."""
        body, head = row_of("body.weight", 1), row_of("head.weight", 2)
        yield Example("covered", (_trace(body, head),))
        features = Row(body, optimizers=0, untrained=False)
        yield Example("feature extraction, not frozen", (_trace(features, head),))
        teacher = row_of("teacher.weight", 3, optimizers=0, gets_gradient=False)
        yield Example("an EMA teacher", (_trace(body, head, teacher),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """A swapped head, a forgotten layer, everything frozen."""
        body, head = row_of("body.weight", 1), row_of("head.weight", 2)
        lost = Row(head, optimizers=0)
        stale = row_of("optimizer.param_groups[0].params[1]", None, gets_gradient=False)
        stale = Row(stale, origin="optimizer", asked=True)
        sites = ("head", "optimizer.param_groups[0].params[1]")
        yield Example("head replaced after the optimizer", (_trace(body, lost, stale),), sites)
        yield Example("a forgotten head", (_trace(body, lost),), ("head",))
        frozen = [Row(r, requires_grad=False, gets_gradient=False) for r in (body, head)]
        new = Row(lost, order=None, came_late=True, replaces=True, left=1, untrained=None)
        yield Example("a head replaced in the middle of it", (_trace(body, head, new),), ("head",))
        yield Example("all frozen", (_trace(*frozen),), ("body.weight", "head.weight"))
        yield Example("a copy", (_trace(body, Row(lost, succeeds="Net", left=2)),), ("Net",))
        block = row_of("Sequential.1.weight", None, optimizers=0)
        block = Row(block, origin="another model", untrained=True, within="ResidualMLP")
        yield Example("layers in a plain list", (_trace(body, head, block),), ("Sequential",))
        torn = Row(head, memory_of="body.weight")
        yield Example("tied by its numbers", (_trace(body, torn),), ("head.weight",))


def _trace(*rows: Row) -> Trace:
    return example_trace(Terms().inspect(), coverage=rows)
