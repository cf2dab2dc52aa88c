"""Samples stay apart: layers run along a sequence's steps, and softmaxes over its parts, not samples."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from pytest_dlcheck.check import Check, Effect, Evidence, Example, Family, example_trace
from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.faults.loop.axes import (
    along_the_samples,
    carried_over,
    is_told,
    kept_within,
    over_the_samples,
    viewed,
)
from pytest_dlcheck.faults.loop.meeting import advice_on, met
from pytest_dlcheck.trace import Row, Scalar, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Verdict


@dataclass(frozen=True)
class SamplesStayApart(Check):
    """In a watched loop, neither layers nor views run along the axis of the samples.

    **Why it matters.** An LSTM without ``batch_first=True`` that is given ``[samples, steps, features]``
    takes the samples of a batch for steps of one sequence. It trains, and scores by what else is in the
    batch: new data, or another order, gives other answers.

    **How it decides.** On a watched loop, in the first steps, where a loader that stacks samples gives
    a model its batch as it is, so that the samples are known to lie along its first axis, or the targets
    are the next words of what it is called on, so that they are known to lie along the other. It fails
    where a recurrent layer or ``MultiheadAttention`` is called ``often`` or more, and every time has as
    many steps as there are samples, and, in the samples' place, as many as another axis of the batch
    has. It fails, too, where in ``often`` or more losses, and ``most`` of those looked at, a model is
    given a state that it has given for the batch before, though the loader shuffles, or a recurrent
    layer within it is so on each further batch; a loop that cuts its batches by hand is looked at for
    longer, for whether samples that come again come behind others than before; and where in ``often``
    or more losses, and all that were looked at, a softmax is over an axis of so many as there are
    samples, the first, that no other axis has, while each sample has a target.

    It fails, too, where a convolution, a linear layer, a recurrent one or attention is ``often`` or
    more, and every time, given a view of a batch, or of what the model has made, that has its sizes in
    another order: a view or reshape in the place of a permute. Left out are sizes of 1, and axes that
    are split or merged whole, as a signal is cut into patches. Where no loader gave the batch it fails
    where a convolution is given a view of tensors with their channels last, whose neighbours are alike
    along the axes that these had, and less so along those of the view.

    After the watch a copy of each trained model is tried, in eval mode, on some samples of one of its
    first batches: it fails where a loader has stacked them and a sample's output changes with the others
    by a view or reshape in the model, or by a layer of sequences without ``batch_first=True``. A mean, a
    deviation or a softmax over the samples is advice, and so is all of it where the samples are known
    only by their targets, one for each: nodes of a graph and steps of one recording have these too.

    **What it cannot see.** Cells that are called step by step; states where batches are cut by hand and
    do not come in passes of at most some 200, or where a data set ignores the number it is asked for,
    so that it may read on in its own order; models that are large, compiled, have hooks of their own,
    or hold more than tensors and settings, so that a copy is not tried.
    ``batch_independence`` tries a recipe's model whatever it does.

    **Source.** The PyTorch documentation of ``torch.nn.LSTM`` (``batch_first``), and of
    ``torch.nn.functional.softmax``, whose implicit axis is the first of three.
    """

    family: ClassVar[Family] = "loop"
    reads: ClassVar[frozenset[str]] = frozenset({"loop"})
    glances: ClassVar[frozenset[str]] = frozenset({"axes", "comparisons", "meetings"})
    shows: ClassVar[Effect | None] = Effect.INDEPENDENCE
    leads_to: ClassVar[frozenset[Effect]] = frozenset(
        {Effect.FITTING, Effect.PROGRESS, Effect.LEARNING, Effect.GENERALIZATION}
    )
    judges_divergence: ClassVar[bool] = True

    often: int = 2
    """Calls, or losses (count), that are no accident."""
    most: float = 0.5
    """Share of losses (ratio); each pass over the data may begin with a fresh state."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """The user's own loop."""
        return (terms.watch(),)

    def decide(self, evidence: Evidence) -> Verdict:
        """By the layers, then by the softmaxes."""
        trace = evidence.the("watch")
        rows, losses = tuple(filter(is_told, trace.rows("axes"))), trace.row("comparisons")
        bound = max(self.often, self.most * losses.integer("looked"))
        if losses.integer("carried") >= bound:
            return self.failed_by(carried_over(losses, bound))
        tried = trace.rows("meetings")
        if not rows and not tried:
            return self.not_applicable("no model was called on a batch whose samples' axis is known")
        if fault := self._fault(rows) or met(tried):
            return self.failed_by(fault)
        measure = Measure("layers along the samples", 0, "count", 0)
        layers = sum(row.text("kind") == "layer" for row in rows)
        return self.passed(
            f"0 of {layers} layers of sequences run along the samples (0 may)",
            measure,
            advice=list(advice_on(tried)),
        )

    def _fault(self, rows: tuple[Row, ...]) -> Fault | None:
        turned = [row for row in rows if self._is_turned(row)]
        stories = {"view": viewed, "layer": along_the_samples, "state": kept_within}
        stories["softmax"] = over_the_samples
        found = (
            tell(row) for kind, tell in stories.items() for row in turned if row.text("kind") == kind
        )
        return next(found, None)

    def _is_turned(self, row: Row) -> bool:
        return row.integer("turned") == row.integer("calls") >= self.often

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Along the steps; by chance once."""
        yield Example("along the steps", (_example(turned=0),))
        once = Row(looked=24, carried=1, carried_shapes="[1, 32, 12]")
        yield Example("a state that was carried once", (_example(once, turned=0),))
        yield Example("as many steps as samples, once", (_example(turned=1),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Along the samples."""
        yield Example("no batch_first", (_example(),), ("encoder.rnn",))
        weights = _example(kind="softmax", site="", shape="[32, 12]")
        yield Example("attention over the batch", (weights,), ("attention",))
        losses = Row(looked=24, carried=20, carried_shapes="[1, 32, 12]")
        within = _example(kind="state", calls=2, turned=2)
        yield Example("hidden state kept in the model", (within,), ("encoder.rnn",))
        view = _example(kind="view", site="conv", shape="[32, 3, 8, 6]", batch="[32, 8, 6, 3]")
        yield Example("view for permute", (view,), ("conv",))
        yield Example("hidden state of the batch before", (_example(losses, turned=0),), ("model",))


def _example(losses: Row | None = None, **found: Scalar) -> Trace:
    row: dict[str, Scalar] = {"kind": "layer", "site": "encoder.rnn", "type": "LSTM", "calls": 3}
    more: dict[str, Scalar] = {"turned": 3, "shape": "[32, 12, 8]", "batch": "[32, 12, 8]"}
    axes = Row({**row, **more, "samples_first": False, **found})
    return example_trace(
        Terms().watch(), loop=Row(steps=48), axes=axes, comparisons=losses or Row(looked=24)
    )
