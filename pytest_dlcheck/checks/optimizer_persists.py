"""The optimizer persists: one that lives on, over the parameters that the forward uses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from pytest_dlcheck.check import Check, Effect, Evidence, Example, Family, example_trace
from pytest_dlcheck.faults.loop import anew
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Suspect, Verdict


@dataclass(frozen=True)
class OptimizerPersists(Check):
    """One optimizer steps, its state lives on, and backward reaches what it steps.

    **Why it matters.** An optimizer built anew in the loop forgets its momentum at every step; a model
    built anew forgets everything; one whose model was replaced or re-created after it was built steps
    parameters that nothing uses any more.

    **How it decides.** On a watched loop: new optimizer objects over the same parameters, per step
    (``anew``), and at least ``few`` of them; models that are stepped once and never again; ``few`` equal
    models in a row, freshly drawn, each trained once over the same samples and gone unused before the
    next, whose last is used; parameters that are drawn anew before each of ``several`` passes and more
    by one optimizer; ``several`` such models, used or not, while a variable called an epoch goes up by
    one from each to the next, and none called a seed, fold or the like changes: else they are advice;
    parameters that no backward reaches in any step, while there are backward passes; not where gradients
    are put there by another way, as for master weights or a meta-gradient.

    **What it cannot see.** Whether the state that lives on is the right one after a checkpoint.

    **Source.** Jiang et al., OSDI 2025 (stale parameters after re-creation); the PyTorch documentation
    of ``torch.optim``: build the optimizer after the model has its place.
    """

    family: ClassVar[Family] = "loop"
    reads: ClassVar[frozenset[str]] = frozenset({"loop"})
    glances: ClassVar[frozenset[str]] = frozenset({"coverage"})
    shows: ClassVar[Effect | None] = Effect.LOOP
    leads_to: ClassVar[frozenset[Effect]] = frozenset(
        {Effect.PROGRESS, Effect.GRADIENTS, Effect.UPDATES, Effect.GENERALIZATION}
    )
    judges_divergence: ClassVar[bool] = True

    anew: float = 0.25
    """New optimizers per step (ratio) from which on it is the loop that builds them; one per phase or
    epoch is healthy."""
    few: int = 4
    """Optimizers (count) up to which they may be the phases of a schedule."""
    several: int = 3
    """Equal models, each trained for one pass over equal data (count), that may be epochs."""
    short: int = 2
    """Steps (count) that a model of a loop is trained for that builds it anew each time."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """The user's own loop."""
        return (terms.watch(),)

    def decide(self, evidence: Evidence) -> Verdict:
        """By the objects that stepped, and what reached them."""
        row = evidence.the("watch").row("loop")
        steps = row.integer("steps")
        if not steps:
            return self.not_applicable("nothing was trained here: no optimizer stepped")
        bound = max(self.few, self.anew * steps)
        if fault := (
            anew.optimizers(row, bound)
            or anew.models(row, self.few, self.short)
            or anew.models_dropped(row, self.few)
            or anew.in_epochs(row, self.several)
        ):
            return self.failed_by(fault)
        told = row.integer("graphs_without_parameters") or self._is_told_by_coverage(evidence)
        is_given = row.integer("given") >= min(self.few, steps)
        is_stale = not row.integer("reached") and not told and not is_given
        if row.integer("backwards") >= steps > self.short and is_stale:
            return self._unreached(row)
        story, measure = anew.told(row, bound)
        return self.passed(story, measure, advice=list(self._advice(row)))

    def _advice(self, row: Row) -> Iterator[str]:
        steps, optimizers, alike = (row.integer(name) for name in ("steps", "optimizers", "alike"))
        if optimizers > self.few and not row.integer("turns"):
            yield f"a new optimizer about every {steps // optimizers} steps: its state is lost each time"
        dropped, end = row.integer("dropped"), "model and optimizer are built anew in each"
        if dropped >= self.few:
            yield (
                f"{dropped} models of one shape were trained in a row, {steps} steps each, and dropped "
                f"unused: if these are epochs, {end}"
            )
        elif alike >= self.several > row.integer("rebuilt"):
            yield (
                f"{alike} models of one shape were trained once over the same data each, {steps} steps: "
                f"if these are epochs, {end}"
            )

    def _is_told_by_coverage(self, evidence: Evidence) -> bool:
        rows = evidence.the("watch").rows("coverage")
        return any(r.text("origin") == "optimizer" and not r.flag("gets_gradient") for r in rows)

    def _unreached(self, row: Row) -> Verdict:
        finding = "steps parameters that the forward does not use"
        cause = "it was built over other parameters: the model was replaced or re-created after"
        remedy = "build the optimizer after the model is complete and in its place"
        if row.flag("was_called"):
            finding = "steps a model that is called, and whose outputs no loss uses"
            cause = "its outputs are cut from the loss: detach(), no_grad(), or another tensor instead"
            remedy = "compute the loss that trains it from its outputs, not detached"
        return self.failed(
            f"0 of {row.integer('backwards')} backward passes reach what it steps (1 should)",
            Measure("backward passes that reach its parameters", 0, "count", 1, ">="),
            suspects=[Suspect("optimizer", finding)],
            cause=cause,
            remedy=remedy,
        )

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """One; one per phase."""
        yield Example("one", (_example(),))
        yield Example("one per phase", (_example(optimizers=3),))
        yield Example("gradients that are put there", (_example(reached=0, given=4),))
        yield Example("seeds, of which none is used", (_example(steps=6, dropped=9),))
        yield Example("seeds, each used", (_example(steps=6, alike=9, rebuilt=1),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Built anew; model built anew; stale."""
        yield Example("an optimizer a step", (_example(optimizers=100),), ("optimizer",))
        fresh = _example(steps=1, strands=32, overlooked=68, most_steps=1)
        yield Example("a model a step", (fresh,), ("",))
        dropped = _example(steps=6, strands=10, dropped=9, then_used=True)
        yield Example("a model an epoch", (dropped,), ("",))
        counted = _example(steps=6, strands=9, alike=9, rebuilt=9, rebuilt_first=True)
        yield Example("a model an epoch, each used", (counted,), ("",))
        yield Example("reset", (_example(drawn_anew=5, trained_passes=6),), ("",))
        yield Example("stale parameters", (_example(reached=0),), ("optimizer",))


def _example(**found: int) -> Trace:
    row = dict.fromkeys(("steps", "backwards", "reached", "most_steps"), 100)
    once = {"optimizers": 1, "strands": 1, "overlooked": 0}
    return example_trace(Terms().watch(), loop=Row({**row, **once, **found}))
