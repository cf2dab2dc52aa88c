"""Steps are in order: gradients are reset, propagated and applied, once each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from pytest_dlcheck.check import Check, Effect, Evidence, Example, Family, example_trace
from pytest_dlcheck.faults.loop import order as faults
from pytest_dlcheck.faults.loop import resets
from pytest_dlcheck.trace import Matrix, Row, Scalar, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Verdict


@dataclass(frozen=True)
class StepsAreInOrder(Check):
    """Every optimizer's step applies gradients that are fresh, once, and resets them.

    **Why it matters.** A loop without ``zero_grad`` adds up the gradients of all batches so far, one
    that resets them a line too early steps on nothing: both run, and the loss may even fall.

    **How it decides.** Per optimizer, at sampled steps of a watched loop. After a step its gradients
    are remembered: if at no start of a backward since then they were found reset, the next step applies
    them again. Gradients that backward has reached and that are gone or zero at the step were reset
    between the two. A step on the very gradients of the last one is a second step, and an optimizer
    that never steps while its parameters have gradients was forgotten; so was a generator's without
    any, if its critic took ``late`` steps in a loop that ended. It fails where ``some`` of the steps
    are so, and at least ``several``; below that it is advice. Accumulated gradients, a scaler's
    skipped steps, a discriminator's gradients left by the generator's backward, and gradients assigned
    by hand are in order. It fails, too, where half of the steps apply gradients of which a part only
    was reset, where neighbouring micro-batches of a step reset each other, where those that a pass over
    the data leaves at its end are thrown away, where steps apply gradients that another optimizer had
    stepped on and that point the other way, where no backward goes through any call on another network's
    detached results, where the scheduler steps first, and where an update by hand is clipped before its
    backward.

    **What it cannot see.** Loops that are compiled whole. Accumulated losses that are not divided are
    advice, and so are gradients that are reset unused where it is not clear what they were made for.

    **Source.** Jiang et al., "Training with Confidence: Catching Silent Errors in Deep Learning
    Training with Automated Proactive Checks" (OSDI 2025): a missing ``zero_grad`` is its first example.
    """

    family: ClassVar[Family] = "loop"
    reads: ClassVar[frozenset[str]] = frozenset({"loop"})
    glances: ClassVar = frozenset({"gradient_norm", "update_norm", "schedule", "comparisons"})
    shows: ClassVar[Effect | None] = Effect.LOOP
    leads_to: ClassVar[frozenset[Effect]] = frozenset(
        {Effect.STABILITY, Effect.PROGRESS, Effect.UPDATES, Effect.GRADIENTS, Effect.GENERALIZATION}
    )
    judges_divergence: ClassVar[bool] = True

    some: float = 0.1
    """Share of the steps (ratio) from which on it is no odd one out; chosen: loops that reset at all
    reset at every step or once per window of micro-batches."""
    several: int = 2
    """Steps (count) below which it is no habit: one ``optimizer.step()`` before the first batch, to
    quiet a scheduler's warning, is common and harmless."""
    late: int = 100
    """Steps (count) of one network until another's first: 100 in "Wasserstein GAN" (2017)."""
    soon: int = 20
    """The same where it has gradients, in a loop cut short; critics usually take 5 a turn."""
    dropped: float = 0.05
    """Share of backward passes (ratio) thrown away in part-windows; a step skipped is none."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """The user's own loop."""
        return (terms.watch(),)

    def decide(self, evidence: Evidence) -> Verdict:
        """By the share of steps that are out of order."""
        row = (trace := evidence.the("watch")).row("loop")
        steps = row.integer("looked")
        if not steps:
            return self._nothing(row)
        if not row.integer("reached"):
            story = f"no backward reaches what the {steps} steps apply (1 or more should)"
            cut = resets.nothing_reached(trace, self.several)
            return self.failed_by(cut) if cut else self.inconclusive(story)
        zeroed = max(row.integer("without_gradients"), faults.zero_steps(trace))
        found = [
            (row.integer("kept_gradients"), faults.never_reset),
            (zeroed, faults.reset_too_early),
            (row.integer("repeated"), faults.stepped_twice),
        ]
        count, fault = max(found, key=lambda pair: pair[0])
        bound = max(self.several, self.some * steps)
        part = resets.only_a_part(row, self.several)
        turn = faults.has_no_turn(row, self.late, self.soon)
        if turn and row.text("never_stepped"):  # then another one may step in its place, once too often
            return self.failed_by(turn)
        if part or count >= bound:
            return self.failed_by(part or fault(row, count, bound))
        story = f"{count} of {steps} steps are out of order (fewer than {bound:g} are tolerated)"
        if also := turn or faults.further(trace, self.several, self.some, self.dropped):
            return self.failed_by(also)
        advice = [fault(row, count, bound).because] if count else []
        advice += [*faults.order_advice(trace, self.late), *resets.advice(row, self.several)]
        measure = Measure("steps out of order", count, "count", bound, "<")
        return self.passed(story, measure, advice=advice)

    def _nothing(self, row: Row) -> Verdict:
        backwards = row.integer("backwards")
        if backwards < self.several:
            return self.not_applicable("nothing was trained here: no optimizer stepped")
        if row.flag("updated_by_hand"):
            if fault := faults.by_hand(row, self.several, self.some):
                return self.failed_by(fault)
            return self.inconclusive(f"parameters are updated by hand after {backwards} backward passes")
        return self.failed_by(faults.never_stepped(row, backwards))

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """All in order; one step too many at the start."""
        yield Example("in order", (_example(),))
        yield Example("ended early", (_example(unstepped="Adam over G", was_cut_short=True),))
        yield Example("one step before the first batch", (_example(repeated=1, repeated_first=1),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Each way to be out of order."""
        kept = _example(kept_gradients=99, kept_gradients_first=1)
        yield Example("no zero_grad", (kept,), ("optimizer",))
        early = _example(without_gradients=100, without_gradients_first=0)
        yield Example("zero_grad before step", (early,), ("optimizer",))
        yield Example("two steps", (_example(repeated=50, repeated_first=1),), ("optimizer",))
        yield Example("a generator that never steps", (_example(never_stepped="Adam"),), ("optimizer",))
        yield Example("whose turn never comes", (_example(unstepped="Adam over G"),), ("optimizer",))
        yield Example("no step", (_example(looked=0),), ("optimizer",))
        hand = _example(looked=0, updated_by_hand=True, hand_updates=40, hand_kept=40)
        yield Example("by hand, never reset", (hand,), ("optimizer",))
        part = _example(part_kept=9, part_looked=9, part_names="w")
        yield Example("a part reset", (part,), ("optimizer",))
        chunks = {"drop_steps": 99, "drop_looked": 16, "drop_micro_batches": 16, "drop_lost": 48}
        yield Example("chunks reset", (_example(strands=1, drop_passes=64, **chunks),), ("optimizer",))
        rest = {"micro_batches": 4, "rests": 6, "rest_backwards": 18, "looked_backwards": 96}
        yield Example("a remainder dropped", (_example(strands=1, **rest),), ("optimizer",))
        fakes = _example(unheard=6, unheard_by="D", unheard_of="G")
        yield Example("fakes unheard", (fakes,), ("optimizer",))
        yield Example("no detach()", (_example(tangled=99, opposed=8, directions=8),), ("optimizer",))


def _example(**found: Scalar) -> Trace:
    counts = dict.fromkeys(("kept_gradients", "without_gradients", "repeated"), 0)
    row = Row({"steps": 100, "looked": 100, "backwards": 100, "reached": 100, **counts, **found})
    return example_trace(
        Terms().watch(), loop=row, gradient_norm=Matrix((0, 1), ("w",), ((1.0,), (0.5,)))
    )
