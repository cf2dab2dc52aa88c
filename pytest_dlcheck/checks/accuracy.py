"""The check `accuracy`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from pytest_dlcheck.baseline import Baseline
from pytest_dlcheck.check import Check, Effect, Example, Family, example_trace
from pytest_dlcheck.gating.asked import NOTHING, Asked
from pytest_dlcheck.gating.bits import packed
from pytest_dlcheck.gating.claim import Assumed
from pytest_dlcheck.gating.conclusion import Rules
from pytest_dlcheck.gating.metric_gate import MetricGate
from pytest_dlcheck.gating.readings import ACCURACY
from pytest_dlcheck.policy import Policy
from pytest_dlcheck.trace import Row, Series, Trace
from pytest_dlcheck.trial import Terms


@dataclass(frozen=True)
class Accuracy(MetricGate):
    """The validation accuracy is what it must be, and no worse than it was.

    The share of right answers on all of ``val_data`` in eval mode, after whole trainings: against
    ``accuracy=``, against earlier runs and against another commit.

    **Why it matters.** Fixed thresholds on one run fail by chance or hide real losses; a change that
    costs three points is found a month later.

    **How it decides.** Two noises are kept apart and both allowed for. The examples: limits after
    Wilson, which no number of seeds narrows, as all seeds see the same ones. The seeds: Student's t,
    from an assumed noise of low weight that measured ones replace. Their distances are added as
    squares. It passes where the mean reaches the number and is surely no more than ``margin`` below,
    fails where it is surely below, and else takes one seed more, up to ``max_seeds``: the looks share
    ``risk``. Too few examples are told with how many it takes. Against another commit, the same seeds
    are trained there: it fails where accuracy is surely lower (paired t over seeds, and McNemar's exact
    test on the examples) and by more than the margin, passes where it is surely lower by less. Against
    earlier runs it is the same by numbers, for these examples only. Several failures share ``risk``
    after Holm.

    **What it cannot see.** Leaked or repeated examples; seeds noisier than assumed while there are one
    or two of them. Of pixels or tokens, those of one sample count together.

    **Source.** Wilson (1927); McNemar (1947); Lan and DeMets (1983); Zou and Donner (2008); Bouthillier
    et al., "Accounting for variance in machine learning benchmarks" (2021).
    """

    family: ClassVar[Family] = "gate"
    reads: ClassVar[frozenset[str]] = frozenset({"accuracy"})
    glances: ClassVar[frozenset[str]] = frozenset({"loss"})
    shows: ClassVar[Effect | None] = Effect.GENERALIZATION

    margin: float = 0.01
    """Loss of accuracy that does not matter (share): one point."""
    risk: float = 0.05
    """How often it may fail what holds, and how often pass what misses by the margin (ratio), where
    seeds differ by up to about a point; `tests/benchmarks/gates_accuracy.py` simulates it."""
    as_samples: int = 1_000
    """Noise between seeds at first: that of so many examples drawn anew, 0.7 points at 95 %; chosen.
    Bouthillier et al. find that seeds move results less than the choice of examples does."""
    weight: int = 2
    """Degrees of freedom that this counts as, beside the measured noise; chosen."""
    asked: Asked = NOTHING
    """The number to reach and the seeds, as the policy has them."""

    def under(self, policy: Policy, baseline: Baseline) -> Check:
        """With the policy's number and margin."""
        given = policy.accuracy or {}
        target = (">=", given["at_least"]) if "at_least" in given else None
        by_policy = policy.accuracy is not None
        asked = Asked.of(policy, baseline, {ACCURACY: target}, by_policy=by_policy)
        return replace(self, asked=asked, margin=given.get("margin", self.margin))

    @property
    def rules(self) -> Rules:
        """The numbers that it decides by."""
        return Rules(self.risk, self.margin, Assumed(self.as_samples, 0.0, self.weight))

    def known(self, traces: Sequence[Trace]) -> tuple[str, ...]:
        """Accuracy."""
        del traces
        return (ACCURACY,)

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """As good as at another commit, with other weights; bit for bit alike."""
        pairs = [(_example(60, 0, i), _example(60, 3 + i, i, base=True)) for i in range(3)]
        yield Example("as good as before", tuple(trace for pair in pairs for trace in pair))
        yield Example("bit for bit alike", (_example(100, 0), _example(100, 0, base=True)))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """Five points lost."""
        pairs = [(_example(700, 0, i), _example(200, 3 + i, i, base=True)) for i in range(3)]
        yield Example("five points lost", tuple(trace for pair in pairs for trace in pair))


def _example(wrong: int, first: int, seed: int = 0, *, base: bool = False) -> Trace:
    right = [not first <= i < first + wrong for i in range(10_000)]
    row = Row(
        name=ACCURACY,
        value=sum(right) / len(right),
        samples=len(right),
        effective=len(right),
        bits=packed(right),
        order="a",
    )
    trial = Terms().fit(seed, 0, "3f2a1c" if base else "")
    return example_trace(trial, accuracy=row, loss=Series((0, 1), (2.0, 1.0 + first)))
