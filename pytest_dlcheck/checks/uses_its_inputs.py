"""Contract: every input, and every part of it, can change an output."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from pytest_dlcheck.check import Check, Effect, Evidence, Example, example_trace
from pytest_dlcheck.faults.contract import lookups, recurrence
from pytest_dlcheck.faults.contract import usage as faults
from pytest_dlcheck.faults.contract.usage_examples import axis_of, tensor_of
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Verdict


@dataclass(frozen=True)
class UsesItsInputs(Check):
    """Every input tensor, and every feature, channel, region and step of it, influences some output.

    No tensor that the model is called with, and no index along an axis of one, can be replaced without
    any output changing.

    **Why it matters.** A wrong slice, an ignored mask, a variable used twice or the first step of a
    recurrent network taken for the last lose information without an error: the training works, and only
    the result is poor.

    **How it decides.** In eval mode and, in doubt, double precision, parameters that are all zero given
    small random values meanwhile (they would hide everything at the start): parts whose gradient is
    exactly zero for all of up to 8 samples are replaced by far-off values, under six more draws and in
    train mode too; whole numbers and masks are replaced by values that occur in the data. For what then
    still changes nothing, the operation and line are sought where the replaced values are lost. Whole
    inputs, features and channels that a slice or a product with zero drops, later steps that a slice
    drops, and a quarter of the rows or columns or more fail. Strides, receptive fields and zero weights
    that leave out parts, and the last step of a model that predicts every step, do not. A mask fails
    that hides from all queries what differs between sequences, and leaves only places with one and the
    same value. Steps that matter, and from which no gradient comes back but from the last one, are
    advice. Where neither outputs nor losses, in either mode, change with what the steps of one of
    torch's recurrent cells give but with the last one's, and each was given the same numbers for a
    state, all others are thrown away, and it fails. Ids of which many are clamped, or taken modulo, to
    one row of an embedding are advice. Of a watched loop masks and cells alone are judged, after the
    watch, on a copy of each trained model.

    **What it cannot see.** Inputs that are constant in the batch (an all-ones mask): they are not
    judged; nor inputs that a `**kwargs` swallows or whose name begins with an underscore. A part that
    only some samples use counts as used. Numbers that are computed before they are cut are no ids.

    **Source.** Karpathy, "A recipe for training neural networks" ("use backprop to chart dependencies").
    """

    family = "contract"
    reads = frozenset({"usage"})
    glances = frozenset({"attended", "recurrence", "lookups"})
    shows = Effect.INPUTS
    leads_to = frozenset(
        {
            Effect.GRADIENTS,
            Effect.FITTING,
            Effect.PROGRESS,
            Effect.LEARNING,
            Effect.GENERALIZATION,
        }
    )

    region: float = 0.25
    """Share of rows or columns (ratio) that a slice may drop: crops to a size that strides divide
    stay below; chosen."""
    allowed: int = 0
    """Inputs that may change no output (count): one is passed to be used."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """One batch, no training."""
        return (terms.inspect(),)

    def decide(self, evidence: Evidence) -> Verdict:
        """Fail on whole inputs first, then on parts."""
        trace = evidence.the("inspect")
        if trace.trial.kind == "watch":
            return self._watched(trace)
        rows = trace.rows("usage")
        if not all(math.isfinite(r.number("edge")) for r in rows if r.text("part") == "axis"):
            return self.inconclusive("the influence of an input is not a finite number")
        inputs = [row for row in rows if row.text("part") == "tensor"]
        judged = [row for row in inputs if row.flag("told")]
        if not judged:
            names = ", ".join(f"`{row.text('input')}`" for row in inputs)
            return self.inconclusive(f"{names} cannot be told: replaced by others, it is the same")
        lost = [row for row in inputs if faults.is_ignored(row)]
        fault = recurrence.thrown_away(trace.rows("recurrence"))
        fault = fault or (faults.ignored(rows, lost) if len(lost) > self.allowed else None)
        if fault := fault or faults.hidden(trace.rows("attended")):
            return self.failed_by(fault)
        if cut := [row for row in rows if faults.is_cut_off(row, self.region)]:
            found = faults.cut_off(max(cut, key=lambda row: row.number("share")))
            return self.failed_by(found, advice=faults.advice_on([r for r in rows if r not in cut]))
        text = f"0 of {len(judged)} inputs change no output (bound {self.allowed})"
        if untold := [f"`{row.text('input')}`" for row in inputs if not row.flag("told")]:
            text = f"{text}; not judged, constant in the batch: {', '.join(untold)}"
        measure = Measure("inputs that change no output", 0, "count", self.allowed)
        advice = (*faults.advice_on(rows), *lookups.advice(trace.rows("lookups")))
        return self.passed(text, measure, advice=advice)

    def _watched(self, trace: Trace) -> Verdict:
        """By what attention hides and cells throw away: no more is tried of a loop that is not ours."""
        masks = trace.rows("attended")
        if fault := recurrence.thrown_away(trace.rows("recurrence")) or faults.hidden(masks):
            return self.failed_by(fault)
        measure = Measure("masks that hide all but the padding", 0, "count", 0)
        return self.passed(f"0 of {len(masks)} masks hide all but the padding (bound 0)", measure)

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """All used; strides that skip rims; a mask that hides nothing in this batch."""
        yield Example("used", (_trace(tensor_of("x")),))
        rim = axis_of("rows", role="place", how="strided", operation="conv2d", count=1, size=33)
        yield Example("a stride skips the last row", (_trace(tensor_of("x"), rim),))
        steps = Row(site="cell", calls=24, thrown_away=0, state="anew")
        ids = Row(site="words", operation="clamp", rows=200, values=900, merged=700, share=0.2)
        yield Example("rare words", (_trace(tensor_of("x"), recurrence=steps, lookups=ids),))
        mask = Row(tensor_of("mask", used=False), told=False, kind="flags", index=1)
        yield Example("a mask of ones", (_trace(tensor_of("x"), mask),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """A second input not read, features sliced off, the first step taken for the last."""
        unread = Row(tensor_of("other", used=False), index=1, how="untouched")
        yield Example("a variable used twice", (_trace(tensor_of("x"), unread),), ("input 1",))
        features = axis_of("features", role="feature", how="sliced", operation="__getitem__", raw=True)
        yield Example("a wrong slice", (_trace(tensor_of("x"), features),), ("input 0",))
        mask = Row(site="attention", operation="softmax", input="x", hidden=0.7, inverted=True)
        inverted = _trace(tensor_of("x"), attended=mask)
        yield Example("an inverted mask", (inverted,), ("attention",))
        steps = Row(site="cell", calls=24, thrown_away=23, state="anew")
        yield Example("a state begun anew", (_trace(tensor_of("x"), recurrence=steps),), ("cell",))
        watched = example_trace(Terms().watch(), usage=Row(part="watched"), attended=mask)
        yield Example("an inverted mask in a watched loop", (watched,), ("attention",))
        steps = axis_of("time steps", role="time", how="sliced", operation="__getitem__", maker="rnn")
        yield Example("the first step for the last", (_trace(tensor_of("x"), steps),), ("rnn",))


def _trace(*rows: Row, **more: Row) -> Trace:
    return example_trace(Terms().inspect(), usage=rows, **more)
