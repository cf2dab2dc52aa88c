"""Contract: at initialisation the model knows nothing, and its loss says so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pytest_dlcheck.check import Check, Effect, Evidence, Example, example_trace
from pytest_dlcheck.faults.contract.start import knows, own_units, story
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Suspect, Verdict

_REGRESSION = frozenset({"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"})


@dataclass(frozen=True)
class StartsUninformed(Check):
    """The loss starts near that of a model that knows nothing.

    At initialisation, in train mode, cross-entropy starts near that of equal logits (ln C), binary
    cross-entropy near ln 2, and a squared or absolute error near that of the targets' mean or of zero.

    **Why it matters.** A start far above is confident nonsense: over-scaled weights, outputs or inputs.
    The first steps are spent on undoing it, if the training survives them. A start far below is
    knowledge: pretrained weights, or a label that leaks into the inputs.

    **How it decides.** By asking the very loss function that the recipe calls, with its class weights,
    label smoothing and ignored targets, what equal logits cost. Fails only if the loss is more than
    twice that *and* the outputs are huge; more than twice alone, and less than half, are advice. Targets
    with a large mean, or in units far from those of the outputs, are advice to normalise.

    **What it cannot see.** Losses that are neither torch's nor plainly written out, and what is normal
    for methods that scale logits on purpose (margin and contrastive losses): there it does not apply.

    **Source.** Karpathy, "A recipe for training neural networks": verify the loss at init.
    """

    family = "contract"
    reads = frozenset({"initial_loss"})
    shows = Effect.START
    leads_to = frozenset({Effect.START, Effect.STABILITY, Effect.FITTING, Effect.PROGRESS})

    most: float = 2.0
    """Initial loss over uninformed loss (ratio). resnet18, resnet50, vgg11 and vgg11_bn start at 0.8
    to 1.9 with 2 classes, at 0.8 to 1.3 with 10 and 100 (8 images, 2 seeds, train mode)."""
    least: float = 0.5
    """The same from below (ratio), for the advice; chosen, to be calibrated."""
    huge: float = 20.0
    """Spread of logits (standard deviation, nats), or outputs over the scale of targets (ratio), at
    which they are over-scaled. Those four models have 0.1 to 1.0; an N(0, 1) embedding tied to a head
    of width d is expected at the square root of d. Chosen far above, to be calibrated."""
    raw: float = 10.0
    """Root mean square of inputs (their unit) from which they, not the weights, explain a large start:
    standardised ones have 1, pixels in 0 to 255 about 130; chosen between."""
    offset: float = 3.0
    """Mean of targets over their spread (ratio) from which they should be normalised; chosen."""
    units: float = 50.0
    """Targets over outputs, at least 1 (ratio), from which targets are in units of their own: Adam at
    1e-3 takes 50,000 steps to move a bias there; chosen."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """One batch, no training."""
        return (terms.inspect(),)

    def decide(self, evidence: Evidence) -> Verdict:
        """Fail where the loss is high because outputs are huge."""
        rows = evidence.traces[0].rows("initial_loss")
        worst = max(rows, key=_ratio)
        ratio = Measure("initial loss over uninformed loss", _ratio(worst), "ratio", self.most)
        scale = Measure(_scale_name(worst), _scale(worst), "ratio", self.huge)
        start = f"the loss starts at {worst.number('loss'):.4g}, {_ratio(worst):.3g} times"
        known = f"the {_floor(worst):.4g} of a model that knows nothing (bound {self.most:g})"
        if _ratio(worst) > self.most and _scale(worst) > self.huge:
            cause, remedy = story(worst, self.raw)
            return self.failed(
                f"{start} {known}; {scale}",
                ratio,
                scale,
                suspects=[Suspect("output", f"{_scale_name(worst)} is {_scale(worst):.3g}")],
                cause=cause,
                remedy=remedy,
            )
        return self.passed(f"{start} {known}", ratio, scale, advice=self._advice(rows))

    def _advice(self, rows: Iterable[Row]) -> Iterable[str]:
        for row in rows:
            ratio, spread = _ratio(row), row.number("target_spread")
            if ratio > self.most:
                text = f"the loss starts at {ratio:.3g} times that of no knowledge"
                yield f"{text}: initialise outputs small"
            elif ratio < self.least and row.text("kind") not in _REGRESSION:
                yield knows(ratio)
            scale, outputs = row.number("target_scale"), max(row.number("spread"), 1.0)
            if row.number("target_mean") > self.offset * spread:
                yield "targets are far from 0: normalise them, or set the last bias to their mean"
            elif row.text("kind") in _REGRESSION and scale > self.units * outputs:
                yield own_units(row)

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Near chance; confident but small; targets far from zero."""
        yield Example("ten classes", (_trace(_row(2.41)),))
        yield Example("two classes, few samples", (_trace(_row(1.4, uninformed=0.69, spread=1.1)),))
        far: dict[str, float | str] = {"kind": "mse_loss", "zero": 28000.0, "target_scale": 167.0}
        targets: dict[str, float | str] = {"target_mean": 150.0, "target_spread": 70.0}
        yield Example("raw targets", (_trace(_row(28001.0, uninformed=4900.0, **far, **targets)),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Huge logits, huge outputs."""
        yield Example("huge logits", (_trace(_row(61.0, spread=40.0)),), ("output",))
        huge: dict[str, float | str] = {"kind": "mse_loss", "zero": 1.0, "target_scale": 1.0}
        row = _row(8100.0, uninformed=1.0, spread=90.0, target_mean=0.0, target_spread=1.0, **huge)
        yield Example("huge outputs", (_trace(row),), ("output",))


def _floor(row: Row) -> float:
    known = [row.number("uninformed")]
    known += [row.number("zero")] if row.get("zero") is not None else []
    return max(known)


def _ratio(row: Row) -> float:
    return row.number("loss") / max(_floor(row), 1e-12)


def _scale(row: Row) -> float:
    if row.text("kind") in _REGRESSION:
        return row.number("spread") / max(row.number("target_scale"), 1.0)
    return row.number("spread")


def _scale_name(row: Row) -> str:
    regression = row.text("kind") in _REGRESSION
    return "outputs over the scale of targets" if regression else "spread of logits"


def _row(loss: float, **more: float | str) -> Row:
    known: dict[str, float | str] = {
        "kind": "cross_entropy",
        "loss": loss,
        "uninformed": 2.303,
        "spread": 0.4,
    }
    return Row({**known, **more})


def _trace(*rows: Row) -> Trace:
    return example_trace(Terms().inspect(), initial_loss=rows)
