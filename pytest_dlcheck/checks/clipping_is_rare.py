"""Clipping is rare: it cuts off spikes, not the training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any, ClassVar

from pytest_dlcheck.check import Check, Effect, Evidence, Example, Family, example_trace
from pytest_dlcheck.faults.loop import clipping as faults
from pytest_dlcheck.faults.loop.clipping_examples import FALL, FLAT, seen, under
from pytest_dlcheck.faults.loop.useless_clipping import useless
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Verdict

LOOKED = {"clips_before_backward": "clips_looked"}
"""What is told of some clippings only, and of how many; the rest of all."""


@dataclass(frozen=True)
class ClippingIsRare(Check):
    """Gradient clipping leaves enough of most gradients to learn from.

    **Why it matters.** A bound taken from another model, or set a few zeros too low, scales every
    gradient to next to nothing.

    **How it decides.** On a watched loop, by the factor that clipping scales the gradients' norm by.
    It fails where the median factor is below ``nothing`` and gradients hardly move the parameters
    (update per weight and step below ``still``, without what SGD's weight decay does; or below
    ``tenth`` of Adam's step, where ``eps`` outweighs them; or, under SGD, all of ``long`` steps and more
    move them by no more than ``way``, and the loss stands still), or where ``nearly_all`` clippings find
    no gradient, as the backward comes later, or come while a gradient scaler's factor is still in.
    Clipping that is active in ``nearly_all`` steps is advice: it trains well with normalised gradients,
    and Adam does not mind their scale. So is clipping after the step, of what is reset unused (without a
    bound it measures the norm), and clipping the same parameters twice in a row.

    **What it cannot see.** Clipping by hand, and ``clip_grad_value_`` imported by name before the watch
    began.

    **Source.** Pascanu et al., "On the difficulty of training recurrent neural networks" (2013), choose
    the bound from the average norm.
    """

    family: ClassVar[Family] = "loop"
    reads: ClassVar = frozenset({"loop", "clipping", "update_norm", "parameter_norm"})
    leads_to: ClassVar = frozenset({Effect.UPDATES, Effect.PROGRESS})
    glances: ClassVar = frozenset(
        {"gradient_norm", "learning_rate", "optimizer_groups", "recipe", "coverage", "loss"}
    )
    judges_divergence: ClassVar[bool] = True

    nothing: float = 0.01
    """Median factor (ratio) below which a hundredth of the gradient is left; chosen."""
    still: float = 1e-5
    """Update per weight and step (ratio) below which 1,000 steps move a weight by 1 %."""
    tenth: float = 0.1
    """Share of Adam's step (ratio) below which the gradient's size decides again; chosen."""
    long: int = 256
    """Steps (count) from which on a loss that stands still is held against it, as in guessing."""
    way: float = 0.02
    """Sum of the steps over the weights (ratio) up to which they have led nowhere; chosen."""
    level: float = 0.02
    """Share of the loss by which its trend surely changes no more where it stands still; chosen."""
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
        if verdict := self._out_of_place(loop := trace.row("loop")):
            return verdict
        factors = trace.series("clipping").values
        usual, ratio, left = median(factors), faults.moved(trace), faults.step_left(trace)
        measure = Measure("median factor of clipping", usual, "ratio", self.nothing, ">=")
        story = (
            f"clipping scales gradients by {usual:.2g} in the median of {len(factors)} steps "
            f"({self.nothing:g} or more should be left), and they move weights by {ratio:.2g} a step"
        )
        if left < self.tenth:
            story += f": {left:.2g} of Adam's step is left, whose eps outweighs them"
        if usual < self.nothing and (ratio < self.still or left < self.tenth):
            none_left = () if usual else (Effect.GRADIENTS,)
            return self.failed_by(faults.to_nothing(story, measure, loop), *none_left)
        steps = len(trace.series("loss"))
        is_long = usual < self.nothing and steps >= self.long
        if is_long and faults.stands_still(trace, ratio, self.way, self.level):
            story += (
                f", {ratio * steps:.2g} in {steps} steps of SGD at most, while the loss stands still"
            )
            return self.failed_by(faults.to_nothing(story, measure, loop))
        active = sum(factor < 1 for factor in factors) / len(factors)
        often = f"clipping is active in {active:.0%} of the steps: it acts as a learning rate of its own"
        advice = list(useless(loop, self.few, self.nearly_all))
        advice += [often] if active >= self.nearly_all and not advice else []
        return self.passed(story, measure, advice=advice)

    def _out_of_place(self, row: Row) -> Verdict | None:
        for key in () if faults.has_nothing_to_clip(row) else faults.PLACES:
            count, clips = row.integer(key), row.integer(LOOKED.get(key, "clips"))
            if count > self.few and count >= self.nearly_all * clips:
                out_of_place = faults.out_of_place(key, count, clips, self.few)
                return self.failed_by(out_of_place, Effect.STABILITY)  # nothing bounds the steps
        return None

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Rare; always active, and yet it trains."""
        yield Example("rare", (_example(1.0, 1e-3),))
        after = _example(0.5, 1e-3, clips_after_step=50)
        yield Example("after the step", (after,))
        yield Example("always active under Adam", (_example(0.001, 1e-3),))
        usual = _under("AdamW", 1e-3, 1e-3, Row(eps=1e-8, weight_decay=0.1), gradient=1.0)
        yield Example("normalised gradients under AdamW", (usual,))
        bounded = _under("SGD", 5e-3, 1e-3, Row(momentum=0.9, weight_decay=5e-4), gradient=1e-3)
        yield Example("normalised gradients under SGD", (bounded,))
        falls = _under("SGD", 5e-3, 2e-5, Row(momentum=0.9), gradient=1e-3, losses=FALL)
        yield Example("small steps under SGD, and the loss falls", (falls,))
        begins = _under("SGD", 5e-3, 2e-5, Row(), gradient=1e-3, losses=FLAT, first_rate=1e-4)
        yield Example("a warm-up", (begins,))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Next to nothing is left."""
        yield Example("clipped to nothing", (_example(1e-5, 1e-8),), ("optimizer",))
        stands = _under("SGD", 5e-3, 2e-5, Row(momentum=0.9), gradient=1e-3, losses=FLAT)
        yield Example("the loss stands still under SGD", (stands,), ("optimizer",))
        decayed = _under("SGD", 1e-8, 2e-4, Row(momentum=0.9, weight_decay=5e-4))
        yield Example("clipped to nothing beside weight decay", (decayed,), ("optimizer",))
        small = _under("AdamW", 1e-8, 3e-4, Row(eps=1e-8, weight_decay=0.1))
        yield Example("clipped below Adam's eps", (small,), ("optimizer",))
        yield Example(
            "before backward", (_example(1.0, 1e-3, clips_before_backward=50),), ("optimizer",)
        )
        yield Example("before unscale_", (_example(0.1, 1e-3, clips_scaled=50),), ("optimizer",))


def _example(factor: float, ratio: float, **found: int) -> Trace:
    return example_trace(**seen(factor, ratio, **found))


def _under(optimizer: str, factor: float, ratio: float, group: Row, **more: Any) -> Trace:
    return example_trace(**under(optimizer, factor, ratio, group, **more))
