"""Validation is untouched: nothing is trained on it, and nothing changes during it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from pytest_dlcheck.check import Check, Effect, Evidence, Example, Family, example_trace
from pytest_dlcheck.faults.validation import validation as faults
from pytest_dlcheck.faults.validation.cut_short import leaves_out_others
from pytest_dlcheck.faults.validation.examples import facts_of
from pytest_dlcheck.trace import Row, Scalar, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Verdict


@dataclass(frozen=True)
class ValidationIsUntouched(Check):
    """What the loop validates on is not trained on, and no parameter changes meanwhile.

    **Why it matters.** A score on what was trained on says nothing of new data, and looks excellent.

    **How it decides.** An evaluation is a call of a watched model without gradients, in eval mode, or
    apart from steps where that makes no difference; samples are told apart by 64 values, on sampled
    batches. It fails where every late evaluation holds ``used`` of its samples that had been trained on
    before, beyond those that equal each other as often, and these are between ``used`` and ``all_of_it``
    of what is trained on (a training set may be scored beside), where names around know of held-out data
    (else advice); where variables called training and held-out data are both scored, and ``all_of_it``
    of the latter was trained on, with its targets; where rows had been but for a slope and an offset of
    each column; or where trained windows of a text stand in its held-out part alone, or nearly all
    windows called held out (else advice) overlap trained ones that begin later; not where some samples
    have no label. It fails where steps in eval mode come in ``rows`` rows between steps in train mode,
    each on a new pass over other data; in train mode where a loader named as held out is not shuffled
    and is only trained on, with its labels, in turns with a shuffled one, while a variable of a loss or
    score has that name too, and changes; else advice. It fails where a loss covers held-out rows, by a
    mask's name, of nodes given at once; where ``folds`` validation sets were training sets of the same
    model, and earlier ones are trained on; where the optimizer steps between ``inside`` neighbouring
    batches of one validation; and where whole evaluations each leave out another hundredth of a shuffled
    loader named as held out, if they are not averaged and no sample needs others. Advice: other
    truncated evaluations, only training data scored, validation with gradients on, inputs ten times, or
    a tenth, as large, and most labels of a validation where a pass of training has none.

    **What it cannot see.** Samples that are augmented, or that repeat too often to be told apart;
    overlap of which no sampled batch holds anything; models that are not called as a whole.

    **Source.** Kapoor and Narayanan, "Leakage and the reproducibility crisis" (2023).
    """

    family: ClassVar[Family] = "loop"
    reads: ClassVar[frozenset[str]] = frozenset({"loop", "exposure"})
    glances: ClassVar[frozenset[str]] = frozenset(
        {"comparisons", "held_out_turns", "meetings", "phases", "new_classes"}
    )
    shows: ClassVar[Effect | None] = Effect.LOOP
    leads_to: ClassVar[frozenset[Effect]] = frozenset({Effect.GENERALIZATION, Effect.LOOP})
    judges_divergence: ClassVar[bool] = True

    used: float = 0.05
    """Share of the samples (ratio) that duplicates do not explain; chosen. Test sets of public data sets
    hold up to 3 % (CIFAR-10) and 10 % (CIFAR-100) near duplicates of training images, fewer exact."""
    all_of_it: float = 0.9
    """Share of what is trained on (ratio) from which on it is the training set that is scored."""
    samples: int = 16
    """Samples trained on before (count) below which nothing is concluded."""
    distinct: float = 0.9
    """Share of different samples within an evaluation (ratio) below which they cannot be told apart."""
    rows: int = 2
    """Rows of steps in eval mode (count) that are no accident."""
    folds: int = 2
    """Validation sets (count) that were training sets before: one is what two tasks in a row make."""
    inside: int = 3
    """Steps within one validation (count) that are no accident."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """The user's own loop."""
        return (terms.watch(),)

    def decide(self, evidence: Evidence) -> Verdict:
        """By steps in eval mode, then by writes, then by the samples."""
        trace = evidence.the("watch")
        row, advice = trace.row("exposure"), list(faults.validation_advice(trace))
        if not trace.row("loop").integer("steps"):
            return self.not_applicable("nothing was trained here: no optimizer stepped")
        if faults.validation_trains(trace, self.samples, self.used, self.rows):
            return self.failed_by(faults.trained_in_eval_mode(row, self.rows))
        if fault := faults.held_out_is_trained_on(trace, row, self.folds):
            return self.failed_by(fault)
        if row.integer("stepped_inside") >= max(self.inside, row.integer("compared") / 2):
            return self.failed_by(faults.stepped_inside(row, self.inside))
        return self._by_samples(trace, row, advice)

    def _by_samples(self, trace: Trace, row: Row, advice: list[str]) -> Verdict:
        count, hits = row.integer("evaluated"), row.integer("evaluated_after_training")
        if not count:
            none = "no evaluation of the trained model was heard, without gradients (0 samples, of 1)"
            asked = Measure("evaluated samples", 0, "count", 1, ">=")
            return self.passed(none, asked, advice=advice) if advice else self.not_applicable(none)
        share, several = row.number("cleanest"), row.integer("evaluated_distinct")
        if several < self.distinct * count or math.isnan(share):
            few = f"{count} evaluated samples are too few or too alike to be told apart"
            return self.inconclusive(few, advice=advice)
        is_all = faults.is_all_scored(row, self.all_of_it)
        touched = faults.is_touched(row, self.samples, self.used)
        if touched and not is_all and faults.is_meant_as_held_out(trace):
            return self.failed_by(faults.trained_before(row, self.used), advice=advice)
        fault = faults.trained_unnoticed(trace, self.samples, self.used, self.all_of_it)
        if fault := fault or (None if touched else leaves_out_others(trace)):
            return self.failed_by(fault, advice=advice)
        advice += faults.advice_on_training_data(trace, is_all=is_all) if touched else []
        return self.passed(
            f"{hits} of {count} evaluated samples had been trained on before, {share:.0%} in the "
            f"cleanest evaluation (at most {self.used:.0%}, unless all that is trained on is scored)",
            Measure("evaluated samples trained on before", share, "ratio", self.used),
            advice=advice,
        )

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Apart; the training set scored as well."""
        yield Example("apart", (_example(),))
        both = _example(trained_and_evaluated=1000, evaluated_after_training=1000, dirtiest=1.0)
        yield Example("training scores too", (both,))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Each way to touch it."""
        cut = {"trained_and_evaluated": 300, "evaluated_after_training": 480, "cleanest": 0.9}
        yield Example("cut from it", (_example(**cut, dirtiest=1.0),), ("data",))
        again = {"rescaled": 90, "rescaled_of": 130, "rescaled_trained": 90, "rescaled_known": 310}
        late = {"held_samples": 90, "held_distinct": 90, "held_trained": 200, "held_cleanest": 1.0}
        yield Example("cut late", (_example(**late, held_out="x_test", labelled=20),), ("data",))
        yield Example("cut and scaled again", (_example(**again),), ("data",))
        trains = _example(eval_steps=24, eval_runs=3, eval_runs_on_a_new_pass=3, eval_trained=500)
        yield Example("validation trains", (trains,), ("data",))
        cut = {"eval_steps": 16, "eval_runs": 4, "eval_trained": 400, "eval_trained_again": 1200}
        yield Example("validation trains, cut by hand", (_example(**cut),), ("data",))
        cut = {"cut_short": 8, "cut_short_times": 8, "cut_short_left": 52, "cut_short_of": 500}
        yield Example("shuffled and truncated", (_example(**cut, sizes=2),), ("data",))
        folds = {"rotations": 3, "rotated_samples": 400, "rotated_first": 60, "returned": 3}
        yield Example("folds that share a model", (_example(**folds),), ("data",))
        yield Example("trained on in turns", (_example(turns=9),), ("data",))
        yield Example("rows of one input", (_example(held_rows=24),), ("data",))
        yield Example("step() in it", (_example(compared=7, stepped_inside=7),), ("optimizer",))


def _example(turns: Scalar = 0, **found: Scalar) -> Trace:
    return example_trace(Terms().watch(), **facts_of(turns, **found))
