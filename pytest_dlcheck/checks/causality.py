"""Outputs do not see the future, and are scored against what they have not seen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pytest_dlcheck.check import Check, Effect, Evidence, Example, example_trace
from pytest_dlcheck.faults.contract import causal as faults
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Verdict


@dataclass(frozen=True)
class Causality(Check):
    """Outputs up to a position do not change when inputs after it do.

    **Why it matters.** A model that sees the token it is to predict learns to copy it: the loss falls
    beautifully and nothing can be generated. The same happens with a sound mask when each logit is
    scored against the token it was just given, or one before it; scored two ahead (labels shifted by
    the data and again by the model), it never learns the next.

    **How it decides.** Where `causal=` declares the axis, by replacing the inputs after five positions
    (by those of other samples) in eval mode and double precision; outputs up to there may change by
    rounding only. Zero-initialised parameters get small random values meanwhile. The first module whose
    inputs agree up to the position while its outputs do not is named. Which token a logit is scored
    against is read off the gradient of the loss, wherever the labels are shifted. Recipes without
    `causal=` are judged only if every scored logit's right answer is the next input token (then the data
    itself declares it, and leaks count where the loss looks), or if it is the token just given, an
    earlier one, or all of them one too far ahead, to a model that does not see the future.

    **What it cannot see.** Leaks between positions of an axis that is hidden (patches, strides), and
    scoring that is no cross-entropy. Of several inputs, an encoder's may be seen whole: a leak from only
    some of them is advice, unless the scored tokens are among those.

    **Source.** Karpathy, A Recipe for Training Neural Networks, 2019 ("use backprop to chart
    dependencies"); bounds are half of the digits of the output's precision, 1e-6 for float64.
    """

    family = "contract"
    reads = frozenset({"future"})
    leads_to = frozenset({Effect.START})

    copied: float = 0.99
    """Share of the scored logits whose right answer is the token just given; as the facts take it."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """One batch, no training."""
        return (terms.inspect(),)

    def decide(self, evidence: Evidence) -> Verdict:
        """The verdict on the largest leak, then on the scoring."""
        rows = evidence.the("inspect").rows("future")
        if not all(math.isfinite(r.number("change") / (r.number("bound") or 1)) for r in rows):
            return self.inconclusive("the change of the outputs is not a finite number")
        leaking = [row for row in rows if _ratio(row) > 1]
        if leaking and _surely(rows, leaking):
            scored_first = max(leaking, key=lambda row: (row.flag("next_token"), _ratio(row)))
            return self.failed_by(faults.leak(scored_first))
        sound = [row for row in rows if row not in leaking]
        if copied := [row for row in sound if _is_copied(row)]:
            return self.failed_by(faults.unshifted(copied[0], self.copied))
        displaced = [row for row in sound if faults.is_displaced(row)]
        if displaced and not leaking:
            return self.failed_by(faults.displaced(displaced[0], self.copied))
        row = max(sound or leaking, key=_ratio)
        if not sound:
            return self.inconclusive(faults.finding(row), advice=_advice(leaking))
        return self.passed(faults.finding(row), faults.change(row), advice=_advice(leaking))

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Sound masks."""
        row = _example(change=3e-16)
        yield Example("a causal transformer", (_trace(row),))
        source = Row(_example(change=0.4), input="input[0]")
        yield Example("an encoder is seen whole", (_trace(source, row),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Missing, inverted and late masks; unshifted targets."""
        leak = Row(_example(change=0.4), culprit="block.attention", culprit_type="Attention")
        yield Example("no mask", (_trace(leak),), ("block.attention",))
        yield Example("inverted mask", (_trace(Row(leak, sees_past=False)),), ("block.attention",))
        late = Row(_example(change=0.4), one_ahead=True)
        yield Example("the diagonal is one too far, place unknown", (_trace(late),), ("output",))
        copied = Row(_example(change=3e-16), same_token=True, scored_now=1.0, sees_now=True)
        yield Example("unshifted targets", (_trace(copied),), ("data",))
        source = Row(_example(change=0.4), input="input[0]", declared=False)
        decoder = Row(copied, declared=False)
        yield Example("a decoder is fed its targets", (_trace(source, decoder),), ("data",))
        back = Row(_example(change=3e-16), shift=-1)
        yield Example("targets shifted the wrong way", (_trace(back),), ("data",))
        yield Example("targets shifted twice", (_trace(Row(back, shift=2)),), ("data",))


def _example(change: float) -> Row:
    return Row(
        input="input",
        output="output",
        declared=True,
        change=change,
        bound=1e-6,
        position=8,
        positions=5,
        steps=16,
        sees_past=True,
    )


def _trace(*rows: Row) -> Trace:
    return example_trace(Terms().inspect(), future=rows)


def _ratio(row: Row) -> float:
    return row.number("change") / row.number("bound")


def _is_copied(row: Row) -> bool:
    """Whether its tokens are scored at their own position, by a model that has just seen them."""
    return row.flag("same_token") and row.flag("sees_now")


def _surely(rows: tuple[Row, ...], leaking: list[Row]) -> bool:
    """Whether the inputs that leak are those that must not: all of them, or the scored tokens."""
    scored = [row for row in rows if row.flag("next_token")]
    if scored:
        return any(row in leaking for row in scored)
    return leaking[0].flag("declared") and len(leaking) == len(rows)


def _advice(leaking: list[Row]) -> Iterator[str]:
    if leaking:
        names = ", ".join(row.text("input") for row in leaking)
        yield f"outputs depend on the whole of {names}: right for an encoder's input, a leak otherwise"
