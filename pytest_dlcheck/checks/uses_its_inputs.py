"""Contract: every input, and every part of it, can change an output."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from pytest_dlcheck.check import Check, Effect, Evidence, Example, example_trace
from pytest_dlcheck.faults import usage as faults
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
    advice. Of a watched loop masks alone are judged, after the watch, on a copy of each trained model.

    **What it cannot see.** Inputs that are constant in the batch (an all-ones mask): they are not
    judged; nor inputs that a `**kwargs` swallows or whose name begins with an underscore. A part that
    only some samples use counts as used.

    **Source.** Karpathy, "A recipe for training neural networks" ("use backprop to chart dependencies").
    """

    family = "contract"
    reads = frozenset({"usage"})
    glances = frozenset({"attended"})
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
            return self._watched(trace.rows("attended"))
        rows = trace.rows("usage")
        if not all(math.isfinite(r.number("edge")) for r in rows if r.text("part") == "axis"):
            return self.inconclusive("the influence of an input is not a finite number")
        inputs = [row for row in rows if row.text("part") == "tensor"]
        judged = [row for row in inputs if row.flag("told")]
        if not judged:
            names = ", ".join(f"`{row.text('input')}`" for row in inputs)
            return self.inconclusive(f"{names} cannot be told: replaced by others, it is the same")
        lost = [row for row in inputs if faults.is_ignored(row)]
        is_lost, masks = len(lost) > self.allowed, trace.rows("attended")
        if fault := faults.ignored(rows, lost) if is_lost else faults.hidden(masks):
            return self.failed_by(fault)
        if cut := [row for row in rows if faults.is_cut_off(row, self.region)]:
            found = faults.cut_off(max(cut, key=lambda row: row.number("share")))
            return self.failed_by(found, advice=faults.advice_on([r for r in rows if r not in cut]))
        text = f"0 of {len(judged)} inputs change no output (bound {self.allowed})"
        if untold := [f"`{row.text('input')}`" for row in inputs if not row.flag("told")]:
            text = f"{text}; not judged, constant in the batch: {', '.join(untold)}"
        measure = Measure("inputs that change no output", 0, "count", self.allowed)
        return self.passed(text, measure, advice=faults.advice_on(rows))

    def _watched(self, masks: tuple[Row, ...]) -> Verdict:
        """By what attention hides: nothing else is tried of a loop that is not ours."""
        if fault := faults.hidden(masks):
            return self.failed_by(fault)
        measure = Measure("masks that hide all but the padding", 0, "count", 0)
        return self.passed(f"0 of {len(masks)} masks hide all but the padding (bound 0)", measure)

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """All used; strides that skip rims; a mask that hides nothing in this batch."""
        yield Example("used", (_trace(_tensor("x")),))
        rim = _axis("rows", role="place", how="strided", operation="conv2d", count=1, size=33)
        yield Example("a stride skips the last row", (_trace(_tensor("x"), rim),))
        mask = Row(_tensor("mask", used=False), told=False, kind="flags", index=1)
        yield Example("a mask of ones", (_trace(_tensor("x"), mask),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """A second input not read, features sliced off, the first step taken for the last."""
        unread = Row(_tensor("other", used=False), index=1, how="untouched")
        yield Example("a variable used twice", (_trace(_tensor("x"), unread),), ("input 1",))
        features = _axis("features", role="feature", how="sliced", operation="__getitem__", raw=True)
        yield Example("a wrong slice", (_trace(_tensor("x"), features),), ("input 0",))
        mask = Row(site="attention", operation="softmax", input="x", hidden=0.7, inverted=True)
        inverted = replace(_trace(_tensor("x")), facts={"usage": (_tensor("x"),), "attended": (mask,)})
        yield Example("an inverted mask", (inverted,), ("attention",))
        watched = example_trace(Terms().watch(), usage=Row(part="watched"), attended=mask)
        yield Example("an inverted mask in a watched loop", (watched,), ("attention",))
        steps = _axis("time steps", role="time", how="sliced", operation="__getitem__", maker="rnn")
        yield Example("the first step for the last", (_trace(_tensor("x"), steps),), ("rnn",))


def _tensor(name: str, *, used: bool = True) -> Row:
    return Row(part="tensor", input=name, index=0, kind="float", told=True, used=used)


def _axis(words: str, **more: str | int | bool) -> Row:
    known: dict[str, str | int | float | bool] = {
        "part": "axis",
        "input": "x",
        "index": 0,
        "words": words,
        "count": 15,
        "size": 16,
        "pattern": "tail",
        "which": "1 to 15",
        "edge": 1.0,
    }
    known |= more
    share = float(known["count"]) / float(known["size"])
    return Row(known, share=share)


def _trace(*rows: Row) -> Trace:
    return example_trace(Terms().inspect(), usage=rows)
