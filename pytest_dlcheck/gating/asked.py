"""What a policy asks of a metric gate, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_dlcheck.baseline import NO_BASELINE, Baseline
from pytest_dlcheck.policy import Policy

Target = tuple[str, float]
"""``(">=" or "<=", number)``."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a policy asks of a metric gate.

    Attributes:
        metrics: metric name to what it must reach, or None for no number of its own; empty where the
            policy names none.
        by_policy: whether the policy asks for this gate at all.
        seeds: seeds that are measured at least.
        max_seeds: seeds that are measured at most.
        lowered: why it does not apply, where the command line took the steps away; else empty.
        baseline: earlier runs to hold it against.
    """

    metrics: Mapping[str, Target | None] = field(default_factory=dict)
    by_policy: bool = False
    seeds: int = 1
    max_seeds: int = 5
    lowered: str = ""
    baseline: Baseline = NO_BASELINE

    def __str__(self) -> str:
        return f"{self.seeds} to {self.max_seeds} seeds"

    @classmethod
    def of(
        cls,
        policy: Policy,
        baseline: Baseline,
        metrics: Mapping[str, Target | None],
        *,
        by_policy: bool,
    ) -> Asked:
        """What the policy asks, for these metrics."""
        return cls(
            metrics=metrics,
            by_policy=by_policy,
            seeds=policy.seeds,
            max_seeds=max(policy.seeds, policy.max_seeds),
            lowered=_lowered(policy),
            baseline=baseline,
        )


def _lowered(policy: Policy) -> str:
    if policy.full_steps is None:
        return ""
    return (
        f"the command line trains {policy.steps} steps where the recipe is gated after more: "
        "leave out --dlcheck-steps to hold it to its numbers"
    )


NOTHING = Asked()
"""No number, and nothing to hold against."""
