"""The check `metrics`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from pytest_dlcheck.baseline import Baseline
from pytest_dlcheck.check import Check, Effect, Example, Family, example_trace
from pytest_dlcheck.gating.asked import NOTHING, Asked
from pytest_dlcheck.gating.claim import Assumed
from pytest_dlcheck.gating.conclusion import Rules
from pytest_dlcheck.gating.metric_gate import MetricGate
from pytest_dlcheck.gating.readings import metric_names
from pytest_dlcheck.policy import Policy
from pytest_dlcheck.trace import Row, Series, Trace
from pytest_dlcheck.trial import Terms


@dataclass(frozen=True)
class Metrics(MetricGate):
    """The recipe's own metrics are what they must be, and no worse than they were.

    Each of ``Recipe(metrics=...)``, and the recipe's ``loss``, on all of ``val_data`` in eval mode,
    after whole trainings: against ``metrics=``, against earlier runs and against another commit.

    **Why it matters.** As for accuracy: without intervals a gate fails by chance or hides real losses.

    **How it decides.** As `accuracy` does, with ``margin`` as a ratio of the number to reach. A function
    is averaged over batches, weighted by their samples, and the noise of examples is that between
    batches; an object with ``update`` and ``compute`` is asked once, and its noise of examples is not
    known: then the claim is about these very examples. All that is held against something shares
    ``risk`` after Holm.

    **What it cannot see.** Whether a metric may be averaged over batches (F1 may not: give an object);
    seeds noisier than assumed while there are one or two of them.

    **Source.** Holm (1979); Lan and DeMets (1983); Smyth (2004); Zou and Donner (2008).
    """

    family: ClassVar[Family] = "gate"
    reads: ClassVar[frozenset[str]] = frozenset({"metrics"})
    glances: ClassVar[frozenset[str]] = frozenset({"loss", "accuracy"})
    shows: ClassVar[Effect | None] = Effect.GENERALIZATION

    margin: float = 0.01
    """Change for the worse that does not matter (ratio of the number to reach): one percent."""
    risk: float = 0.05
    """How often it may fail what holds, and how often pass what misses by the margin (ratio), where
    seeds differ by up to about what is assumed at first."""
    deviation: float = 0.02
    """Noise between seeds at first (ratio of the metric's value, a standard deviation); chosen."""
    as_samples: int = 1_000
    """The same for `accuracy`, should it be named here: that of so many examples drawn anew."""
    weight: int = 2
    """Degrees of freedom that this counts as, beside the measured noise; chosen."""
    asked: Asked = NOTHING
    """The numbers to reach and the seeds, as the policy has them."""

    def under(self, policy: Policy, baseline: Baseline) -> Check:
        """With the policy's numbers."""
        given = policy.metrics or {}
        targets = {name: None if bound is True else tuple(bound) for name, bound in given.items()}
        return replace(self, asked=Asked.of(policy, baseline, targets, by_policy=bool(given)))

    @property
    def rules(self) -> Rules:
        """The numbers that it decides by."""
        return Rules(self.risk, self.margin, Assumed(self.as_samples, self.deviation, self.weight))

    def known(self, traces: Sequence[Trace]) -> tuple[str, ...]:
        """All that the recipe gives."""
        return metric_names(traces)

    @classmethod
    def healthy(cls) -> Iterable[Example]:
        """The loss as good as at another commit."""
        yield Example("better", (_example(0.50, 0), _example(0.80, 1, base=True)))
        yield Example("bit for bit alike", (_example(0.50, 0), _example(0.50, 0, base=True)))

    @classmethod
    def sick(cls) -> Iterable[Example]:
        """A loss that has doubled."""
        yield Example("doubled", (_example(1.0, 0), _example(0.5, 1, base=True)))


def _example(loss: float, start: int, *, base: bool = False) -> Trace:
    row = Row(name="loss", value=loss, samples=1_000, error=0.01, points=20)
    trial = Terms().fit(0, 0, "3f2a1c" if base else "")
    return example_trace(trial, metrics=row, loss=Series((0, 1), (2.0, 1.0 + start)))
