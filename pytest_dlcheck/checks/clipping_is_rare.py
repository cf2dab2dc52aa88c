"""Clipping is rare: it cuts off spikes, not the training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import ClassVar

from pytest_dlcheck.check import Check, Effect, Evidence, Example, Family, example_trace
from pytest_dlcheck.faults.readings import update_ratio
from pytest_dlcheck.trace import Matrix, Row, Series, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Suspect, Verdict


@dataclass(frozen=True)
class ClippingIsRare(Check):
    """Gradient clipping leaves enough of most gradients to learn from.

    **Why it matters.** A bound taken from another model, or set a few zeros too low, scales every
    gradient to next to nothing.

    **How it decides.** On a watched loop, by the factor that ``clip_grad_norm_`` scales gradients by.
    It fails where the median factor is below ``nothing`` and the parameters hardly move (update per
    weight and step below ``still``), or where ``nearly_all`` clippings come before the backward, or
    while a gradient scaler's factor is still in; clipping that is active in ``nearly_all`` steps is
    advice: it trains well with normalised gradients, and Adam does not mind their scale.

    **What it cannot see.** Clipping by hand or by value, and functions that were imported by name
    before the watch began.

    **Source.** Pascanu et al., "On the difficulty of training recurrent neural networks" (2013), choose
    the bound from the average norm.
    """

    family: ClassVar[Family] = "loop"
    reads: ClassVar[frozenset[str]] = frozenset({"loop", "clipping", "update_norm", "parameter_norm"})
    leads_to: ClassVar[frozenset[Effect]] = frozenset({Effect.UPDATES, Effect.PROGRESS})
    judges_divergence: ClassVar[bool] = True

    nothing: float = 0.01
    """Median factor (ratio) below which a hundredth of the gradient is left; chosen."""
    still: float = 1e-5
    """Update per weight and step (ratio) below which 1,000 steps move a weight by 1 %."""
    nearly_all: float = 0.9
    """Share of steps, or of clippings, (ratio) from which on it is the rule."""
    few: int = 2
    """Clippings out of place (count) that may be accidents, as at the very start."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """The user's own loop."""
        return (terms.watch(),)

    def decide(self, evidence: Evidence) -> Verdict:
        """By the median factor and the updates."""
        trace = evidence.the("watch")
        if verdict := self._out_of_place(trace.row("loop")):
            return verdict
        factors = trace.series("clipping").values
        usual, ratio = median(factors), update_ratio(trace)
        measure = Measure("median factor of clipping", usual, "ratio", self.nothing, ">=")
        story = (
            f"clipping scales gradients by {usual:.2g} in the median of {len(factors)} steps "
            f"({self.nothing:g} or more should be left), and weights move by {ratio:.2g} a step"
        )
        if usual < self.nothing and ratio < self.still:
            return self.failed(
                story,
                measure,
                suspects=[
                    Suspect("optimizer", f"its gradients are clipped to {usual:.2g} of their size")
                ],
                cause="the bound of clip_grad_norm_ is far below the gradients' norm",
                remedy="raise max_norm to about the usual norm of the gradient",
            )
        active = sum(factor < 1 for factor in factors) / len(factors)
        often = f"clipping is active in {active:.0%} of the steps: it acts as a learning rate of its own"
        return self.passed(story, measure, advice=[often] if active >= self.nearly_all else [])

    def _out_of_place(self, row: Row) -> Verdict | None:
        clips = row.integer("clips")
        for key, when, remedy in (
            (
                "clips_before_backward",
                "before any backward: there is nothing to clip",
                "clip after backward",
            ),
            ("clips_scaled", "while the gradients are scaled", "call scaler.unscale_(optimizer) first"),
        ):
            count = row.integer(key)
            if count > self.few and count >= self.nearly_all * clips:
                return self.failed(
                    f"{count} of {clips} clippings come {when} (at most {self.few} may)",
                    Measure("clippings out of place", count, "count", self.few),
                    suspects=[Suspect("optimizer", f"its gradients are clipped {when}")],
                    cause=f"clip_grad_norm_ is called {when}",
                    remedy=remedy,
                )
        return None

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Rare; always active, and yet it trains."""
        yield Example("rare", (_example(1.0, 1e-3),))
        yield Example("always active under Adam", (_example(0.001, 1e-3),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Next to nothing is left."""
        yield Example("clipped to nothing", (_example(1e-5, 1e-8),), ("optimizer",))
        yield Example(
            "before backward", (_example(1.0, 1e-3, clips_before_backward=50),), ("optimizer",)
        )
        yield Example("before unscale_", (_example(0.1, 1e-3, clips_scaled=50),), ("optimizer",))


def _example(factor: float, ratio: float, **found: int) -> Trace:
    return example_trace(
        Terms().watch(),
        loop=Row({"clips": 50, "clips_before_backward": 0, "clips_scaled": 0, **found}),
        clipping=Series((0, 1, 2), (factor, factor, 1.0)),
        update_norm=Matrix((0, 1), ("w",), ((ratio,), (ratio,))),
        parameter_norm=Matrix((0, 1), ("w",), ((1.0,), (1.0,))),
    )
