"""Why steps are too large, where something else than the learning rate is to blame."""

from __future__ import annotations

from pytest_dlcheck.faults.dynamics import settings
from pytest_dlcheck.faults.dynamics.accumulation import added_up
from pytest_dlcheck.trace import Trace
from pytest_dlcheck.verdict import Suspect


def why_too_large(trace: Trace) -> tuple[Suspect, str, str] | None:
    """Suspect, cause and remedy: a setting of the optimizer, or micro-batches that add up undivided."""
    return settings.large_steps(trace) or added_up(trace)
