"""With which of several seeds a verdict was reached: each seed is judged by itself once more."""

from __future__ import annotations

from dataclasses import replace

from pytest_dlcheck.check import Check, Evidence
from pytest_dlcheck.verdict import Outcome, Verdict

_SEEDED = frozenset({"train", "watch", "blind"})
_SETTLED = frozenset({Outcome.PASSED, Outcome.NOT_APPLICABLE})


def with_seeds(check: Check, verdict: Verdict, evidence: Evidence) -> Verdict:
    """The verdict, and which seeds it holds for, where there were several and not all is well."""
    seeds = sorted({trace.trial.seed for trace in evidence.traces if trace.trial.kind in _SEEDED})
    if verdict.outcome in _SETTLED or len(seeds) < 2:  # noqa: PLR2004
        return verdict
    alike = [
        str(seed) for seed in seeds if check.judge(_alone(evidence, seed)).outcome is verdict.outcome
    ]
    if not alike:
        return verdict
    named = f"seed{'s' if len(alike) > 1 else ''} {', '.join(alike)} of {len(seeds)}"
    told = f"with all {len(seeds)} seeds" if len(alike) == len(seeds) else f"with {named}"
    first, newline, rest = verdict.because.partition("\n")
    return replace(verdict, because=f"{first} ({told}){newline}{rest}")


def _alone(evidence: Evidence, seed: int) -> Evidence:
    return Evidence(
        tuple(t for t in evidence.traces if t.trial.kind not in _SEEDED or t.trial.seed == seed)
    )
