"""Inputs keep their scale: what is validated is normalised as what is trained on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from pytest_dlcheck.check import Check, Effect, Evidence, Example, Family, example_trace
from pytest_dlcheck.faults.validation import scaled
from pytest_dlcheck.trace import Row, Scalar, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Verdict


@dataclass(frozen=True)
class InputsKeepTheirScale(Check):
    """In a watched loop, validation inputs are normalised as training inputs are.

    **Why it matters.** A transform that only the training data go through, or that the validation data
    go through twice, leaves a sound model with a score that is no better than chance; one that is fitted
    to the validation data gives a score for inputs that no single sample can be made into later.

    **How it decides.** Other rows are compared, so by what a transform leaves on all of them, in up to
    16 batches of either kind. It fails, where the loop calls the evaluated data held out, if at least
    90 % of the columns of one are standardised or between fixed bounds, no more than half of the other's
    are, half of them are 3 times as spread or a third, and some 10 times more so than others; or if both
    consist of as many levels (9 to 257, as of a byte) that lie more than 2 % nearer or farther apart.
    Elsewhere these are advice, as are inputs of evaluations all of which are 10 times as large or small
    as those of training: they may be drawn from another range on purpose. And so are those of which 90 %
    of the columns, or all numbers at once, have a mean within 1e-4 of 0 and a variance within 1e-3 (and
    one sample's share) of 1: only their own statistics make them so, and it may be meant of one subject.

    **What it cannot see.** Statistics of the validation data in a loader that leaves some out, or of
    other kinds, as bounds; images that are only moved, or that are resized or distorted in floating
    point and less than 10 times as large; words and categories that are numbered otherwise. Of a
    recipe's ``val_data`` see ``data_is_sound``.

    **Source.** The documentation of ``torchvision.transforms.Normalize``, and of scikit-learn on common
    pitfalls ("inconsistent preprocessing").
    """

    family: ClassVar[Family] = "loop"
    reads: ClassVar[frozenset[str]] = frozenset({"loop", "exposure"})
    shows: ClassVar[Effect | None] = Effect.GENERALIZATION
    leads_to: ClassVar[frozenset[Effect]] = frozenset()

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """The user's own loop."""
        return (terms.watch(),)

    def decide(self, evidence: Evidence) -> Verdict:
        """By columns, by levels, by exact statistics, by size."""
        trace = evidence.the("watch")
        row = trace.row("exposure")
        if not trace.row("loop").integer("steps"):
            return self.not_applicable("nothing was trained here: no optimizer stepped")
        if "scale_columns" not in row or not row.integer("evaluated"):
            return self.not_applicable(
                "no inputs were evaluated that can be held against the training's"
            )
        if fault := scaled.told(row):
            return self.failed_by(fault)
        measure = scaled.measure(row)
        story = f"{measure.name} is {measure.value:.3g} times at most (bound {measure.bound:g})"
        return self.passed(story, measure, advice=scaled.advice(row))

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Alike; another range in all columns; images in the same levels."""
        yield Example("alike", (_example(scale_trained="standardised", scale_evaluated="standardised"),))
        wider = {"scale_least": 9.0, "scale_median": 10.0, "scale_most": 12.0}
        yield Example("another range", (_example(**wider, scale_trained="standardised"),))
        own = _example(scale_trained="standardised", scale_evaluated="standardised", own_scale="columns")
        yield Example("one subject, standardised as each other is", (own,))
        yield Example("images", (_example(level_trained=1 / 255, level_evaluated=1 / 255),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """A raw table; images that are normalised in one part."""
        raw = {"scale_least": 0.02, "scale_median": 12.0, "scale_most": 400.0}
        yield Example("a raw table", (_example(**raw, scale_trained="standardised"),), ("data",))
        seen = _example(level_trained=1 / 255 / 0.229, level_evaluated=1 / 255)
        yield Example("images without Normalize", (seen,), ("data",))


def _example(**found: Scalar) -> Trace:
    row: dict[str, Scalar] = {
        "evaluated": 320,
        "evaluated_size": 1.0,
        "scale_part": "val_loader",
        "scale_columns": 12,
        "scale_trained": "",
        "scale_evaluated": "",
        "scale_least": 0.9,
        "scale_median": 1.0,
        "scale_most": 1.1,
        "level_trained": 0.0,
        "level_evaluated": 0.0,
    }
    loop = Row(steps=60)
    return example_trace(Terms().watch(), loop=loop, exposure=Row({**row, **found}))
