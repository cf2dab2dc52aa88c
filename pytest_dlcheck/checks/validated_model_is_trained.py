"""The validated model is trained: what is scored is what training changes, or follows it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from pytest_dlcheck.check import Check, Effect, Evidence, Example, Family, example_trace
from pytest_dlcheck.faults.validation import copies
from pytest_dlcheck.faults.validation.averaging import averaged_wrongly
from pytest_dlcheck.faults.validation.choosing import advice_on_choices, chosen_among_one
from pytest_dlcheck.faults.validation.restoring import initial_statistics
from pytest_dlcheck.trace import Row, Scalar, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Outcome, Verdict

NONE = Outcome.NOT_APPLICABLE


@dataclass(frozen=True)
class ValidatedModelIsTrained(Check):
    """The model that the loop validates is the trained one, or an average that follows it.

    **Why it matters.** An average that is never updated, or updated from the wrong model, scores the
    same at every epoch, and it is what is saved in the end. So does the argmax of a single output.

    **How it decides.** On a watched loop. A model that no optimizer steps, with parameters of the same
    shapes as the trained one, is validated ``often`` or more (two calls in a row or more, in eval mode
    without gradients), ``apart`` or more steps lie between, and its parameters are the same as at first,
    but for rounding or a common factor. It fails where it is updated in place all the while, which
    changes it by rounding alone; where it is an average by weights that do not sum to 1: half as large
    as the trained weights ever were, or twice; and where the trained model itself is never validated.
    Without a loader, single calls count where ``often`` or more of them are on the input of the first:
    it fails where the copy's weights are evidently a fresh draw and the trained model is never called
    without gradients before its last step. Otherwise a copy that stands still may be a reference: that
    is advice, where it is untrained, or evaluated on the same input alone. One evaluation is enough of
    copies with the weights that a training of ``late`` or more steps began with: it fails where the loop
    calls them averages, as ``ema``, and updates changed them by rounding alone, and where the trained
    model was never asked, of an ``AveragedModel`` or a copy that was written to again and again;
    elsewhere after the training, and where the trained weights were taken, it is advice. It fails where
    ``answers`` or more are chosen by ``argmax`` or ``max`` of outputs of one class in all calls (advice
    where there are others), and where a validated copy's batch norms all have the first statistics.

    **What it cannot see.** Averages kept as lists of tensors; what is chosen by other libraries; copies
    without a loader's batches that neither ``eval()`` nor ``requires_grad_(False)`` was called of.

    **Source.** Polyak and Juditsky, "Acceleration of stochastic approximation by averaging" (1992).
    """

    family: ClassVar[Family] = "loop"
    reads: ClassVar[frozenset[str]] = frozenset({"loop"})
    glances: ClassVar[frozenset[str]] = frozenset({"evaluated_twins", "chosen_among_one"})
    shows: ClassVar[Effect | None] = Effect.LOOP
    leads_to: ClassVar[frozenset[Effect]] = frozenset({Effect.GENERALIZATION})
    judges_divergence: ClassVar[bool] = True

    often: int = 2
    """Validations (count) that show whether it follows."""
    apart: int = 8
    """Steps (count) between them, in which a trained model moves."""
    late: int = 64
    """Steps (count) of a training after which a copy is evaluated once; chosen, so that an average that
    begins after a warm-up, or is updated now and then, has begun."""
    answers: int = 16
    """Answers (count) chosen among one from which on it is no accident; chosen."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """The user's own loop."""
        return (terms.watch(),)

    def decide(self, evidence: Evidence) -> Verdict:
        """By the copies that are validated."""
        trace = evidence.the("watch")
        rows = trace.rows("evaluated_twins")
        if not trace.row("loop").integer("steps"):
            return self.not_applicable("nothing was trained here: no optimizer stepped")
        if unset := [r for r in rows if r.integer("unset_statistics") and not r.flag("is_late")]:
            return self.failed_by(initial_statistics(unset[0]))
        one = [r for r in trace.rows("chosen_among_one") if r.integer("answers") >= self.answers]
        if alone := [row for row in one if row.flag("is_alone")]:
            return self.failed_by(chosen_among_one(alone[0], self.answers))
        advice = [advice_on_choices(row) for row in one]
        twins = [row for row in rows if not row.flag("is_late")]
        still = [twin for twin in twins if self._stands_still(twin)]
        stood = [row for row in rows if row.flag("is_late") and self._stood_still(row)]
        advice += copies.still_late(rows, stood)
        never = copies.never_updated_late(rows, stood, self.late)
        never = never or copies.never_updated(twins, still, self.often, self.apart)
        never = never or averaged_wrongly(rows, self.late)
        if fault := never or copies.called_averages(rows, trace.row("loop"), self.late):
            return self.failed_by(fault)
        if not twins and not advice:
            return self.not_applicable("no copy of the trained model is validated")
        advice += copies.still_copies(still, self.often)
        return self.passed(copies.story(twins, still, self.apart), copies.measure(still), advice=advice)

    def _stands_still(self, twin: Row) -> bool:
        often = max(twin.integer("validations"), twin.integer("again")) >= self.often
        return often and twin.integer("steps_between") >= self.apart and not twin.flag("moved")

    def _stood_still(self, twin: Row) -> bool:
        as_before = twin.flag("was_copy") or twin.flag("was_fresh")
        return as_before and twin.integer("steps_between") >= self.late and not twin.flag("moved")

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """An average that follows; a reference beside the trained model."""
        yield Example("follows", (_example(moved=True),))
        yield Example("a reference", (_example(own_validations=3),))
        again = {"validations": 0, "again": 3, "was_fresh": True}
        yield Example("evaluated beside the trained", (_example(**again, own_calls=True),))
        yield Example("pretrained", (_example(validations=0, again=3, was_copy=True),))
        late = {"validations": 0, "steps_between": 480, "was_copy": True, "is_late": True}
        yield Example("beside the trained at the end", (_example(**late, own_answers=True),), (), NONE)
        yield Example("a reference at the end", (_example(**late),))
        yield Example("one of several outputs", (_chosen(is_alone=False),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """An average that is never updated, or in vain."""
        yield Example("never updated", (_example(),), ("AveragedModel",))
        again = _example(validations=0, again=3, was_fresh=True)
        yield Example("never updated, data cut by hand", (again,), ("AveragedModel",))
        yield Example("the argmax of one output", (_chosen(),), ("Net",))
        late = {"validations": 0, "steps_between": 480, "was_copy": True, "is_late": True}
        yield Example("evaluated once", (_example(**late, is_average=True),), ("AveragedModel",))
        vain = _example(validations=1, steps_between=64, is_restless=True)
        yield Example("updated in vain", (vain,), ("AveragedModel",))
        shrunk = _example(moved=True, size=0.01)
        yield Example("weights that do not sum to 1", (shrunk,), ("AveragedModel",))
        average = _example(moved=True, unset_statistics=3)
        yield Example("an average without its statistics", (average,), ("AveragedModel",))


def _example(**found: Scalar) -> Trace:
    row: dict[str, Scalar] = {
        "model": "AveragedModel",
        "validations": 3,
        "steps_between": 32,
        "moved": False,
    }
    twin = Row({**row, "own_validations": 0, **found})
    return example_trace(Terms().watch(), loop=Row(steps=48), evaluated_twins=twin)


def _chosen(**found: Scalar) -> Trace:
    row: dict[str, Scalar] = {"model": "Net", "calls": 4, "answers": 676, "is_alone": True}
    seen = Row({**row, "shape": "[169, 1]", "line": "fit.py:31", **found})
    return example_trace(Terms().watch(), loop=Row(steps=48), chosen_among_one=seen)
