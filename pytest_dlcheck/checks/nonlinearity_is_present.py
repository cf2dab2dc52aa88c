"""Contract: something nonlinear stands between the layers of weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from pytest_dlcheck.check import Check, Effect, Evidence, Example, example_trace
from pytest_dlcheck.faults.contract import linearity as faults
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.trial import Terms, Trial
from pytest_dlcheck.verdict import Measure, Verdict


@dataclass(frozen=True)
class NonlinearityIsPresent(Check):
    """The training has a network that is more than one linear map.

    **Why it matters.** Layers of weights without an activation between them do together what one of them
    could: the depth is paid for, and nothing nonlinear can be learned.

    **How it decides.** In eval mode, and in float64 unless float32 shows it plainly, two inputs far
    apart are mixed; where outputs at the mixture are the mixture of outputs, the whole is linear
    (affine). Floating inputs are mixed, or the outputs of embeddings; outputs are taken before a last
    softmax, sigmoid or other activation. A whole that is linear fails if at least two layers of weights
    follow each other, of which one is no bottleneck: a linear autoencoder or a matrix factorisation is
    meant. In a network that is nonlinear, two neighbours with nothing but a shape change, a dropout or a
    batch normalisation between are advice, unless the pair is narrow in the middle, grouped, or unevenly
    shaped.

    **What it cannot see.** The inside of compiled models, and whether nonlinearity is enough.

    **Source.** Goodfellow, Bengio & Courville, "Deep learning" (2016), section 6.1.
    """

    family: ClassVar = "contract"
    reads: ClassVar = frozenset({"linearity"})
    leads_to: ClassVar = frozenset(
        {Effect.FITTING, Effect.PROGRESS, Effect.LEARNING, Effect.GENERALIZATION}
    )

    bend: float = 1e-5
    """Distance from linear, relative to the change of outputs (ratio), below which a network is linear
    where it runs in float64. Linear ones measure 1e-7 and less, 150 healthy nonlinear ones 2e-2 and
    more."""
    bend_single: float = 1e-3
    """The same where it does not run in float64."""

    def trials(self, terms: Terms) -> tuple[Trial, ...]:
        """One batch, no training."""
        return (terms.inspect(),)

    def decide(self, evidence: Evidence) -> Verdict:
        """The whole first, then its parts."""
        whole, *pairs = evidence.traces[0].rows("linearity")
        bound = self.bend if whole.flag("exact") else self.bend_single
        bend, count = whole.number("bend"), whole.integer("layers")
        if bend < bound and whole.text("first") and not whole.flag("recurrent"):
            return self.failed_by(faults.linear(whole, pairs, bound))
        how = "differ from" if bend >= bound else "are"
        return self.passed(
            f"outputs at mixtures of two inputs {how} the mixtures of outputs: by {bend:.2g} of their "
            f"change (linear below {bound:.0e}), over {count} layers",
            Measure("distance from linear", bend, "ratio", bound, ">="),
            advice=faults.advice(whole, pairs, bound),
        )

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """Nonlinear, with and without a linear pair; a linear autoencoder."""
        yield Example("nonlinear", (_trace(_whole(0.7)),))
        pair = Row(first="up", second="down", width=128)
        yield Example("a linear pair", (_trace(_whole(0.7), pair),))
        yield Example("bottleneck", (_trace(_whole(1e-8, first="", second="", narrow="encoder")),))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Activations forgotten."""
        yield Example("linear", (_trace(_whole(4e-8)),), ("layers.0",))
        yield Example("linear, single precision", (_trace(_whole(2e-5, exact=False)),), ("layers.0",))


def _whole(bend: float, **more: str | bool) -> Row:
    row = Row(layers=3, bend=bend, exact=True, recurrent=False, first="layers.0", second="layers.2")
    return Row(row, **more)


def _trace(whole: Row, *pairs: Row) -> Trace:
    return example_trace(Terms().inspect(), linearity=(whole, *pairs))
