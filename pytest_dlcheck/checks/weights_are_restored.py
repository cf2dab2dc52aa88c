"""Weights are restored: what is loaded into a model is what was kept, and arrives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from pytest_dlcheck.check import Check, Effect, Evidence, Example, Family, example_trace
from pytest_dlcheck.faults.validation.restoring import nothing_loaded, restored_by_reference
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Verdict


@dataclass(frozen=True)
class WeightsAreRestored(Check):
    """What a loop loads into a model are the weights that were kept, and they arrive.

    **Why it matters.** The best weights that were kept by reference are the last ones, and a checkpoint
    of which nothing fits leaves a model as it was made: both are loaded without an error, and all that
    is measured afterwards is measured on other weights than is believed.

    **How it decides.** On a watched loop, at every ``load_state_dict``. It fails where weights are
    loaded into the model whose memory they are, a step or more after ``state_dict()`` gave them:
    references, which training has changed along with the model. It fails, too, where
    ``strict=False`` finds none of a model's parameters in what it is given, after any hooks that rename
    them, and no later load into that model finds one.

    **What it cannot see.** References of which only other views were kept (``.data``, ``.detach()``);
    weights that are copied by hand; that a part is missing, which may be meant.

    **Source.** The PyTorch tutorial "Saving and loading models", whose note on ``best_model_state`` is
    about references.
    """

    family: ClassVar[Family] = "loop"
    reads: ClassVar[frozenset[str]] = frozenset({"loop"})
    glances: ClassVar[frozenset[str]] = frozenset({"restored", "unloaded"})
    shows: ClassVar[Effect | None] = Effect.LOOP
    leads_to: ClassVar[frozenset[Effect]] = frozenset({Effect.GENERALIZATION})
    judges_divergence: ClassVar[bool] = True

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """The user's own loop."""
        return (terms.watch(),)

    def decide(self, evidence: Evidence) -> Verdict:
        """By what was loaded last."""
        trace = evidence.the("watch")
        if not trace.row("loop").integer("steps"):
            return self.not_applicable("nothing was trained here: no optimizer stepped")
        for row in trace.rows("restored")[-1:]:
            return self.failed_by(restored_by_reference(row))
        for row in trace.rows("unloaded")[-1:]:
            return self.failed_by(nothing_loaded(row))
        loads = trace.row("loop").integer("loads")
        if not loads:
            return self.not_applicable("no weights were loaded")
        measure = Measure("loads of nothing, or of references", 0, "count", 0)
        return self.passed(f"0 of {loads} loads are of nothing, or of references (0 should)", measure)

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Copies of what was kept."""
        yield Example("the best weights", (_example(loads=1),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """By reference; by other names."""
        kept = Row(model="Net", parameters=4, steps=30, line="fit.py:44")
        yield Example("kept by reference", (_example(loads=1, restored=kept),), ("Net",))
        names = Row(model="Net", parameters=4, given="module.fc.weight", asked="fc.weight", line="")
        yield Example("names with a prefix", (_example(loads=1, unloaded=names),), ("Net",))


def _example(*, loads: int, **facts: Row) -> Trace:
    return example_trace(Terms().watch(), loop=Row(steps=48, loads=loads), **facts)
