"""What every check says alike."""

from __future__ import annotations

import math
from dataclasses import replace

from pytest_dlcheck.check import Evidence, registry
from pytest_dlcheck.trace import Series
from pytest_dlcheck.verdict import Outcome


def test_a_number_that_is_not_finite_is_told_by_what_it_is_and_where_it_was_recorded():
    check = registry()["parameters_update"]
    trace = next(iter(check.healthy())).traces[0]
    broken = replace(
        trace, channels={**trace.channels, "learning_rate": Series((0, 1), (math.nan, 0.1))}
    )

    verdict = check.judge(Evidence((broken,)))

    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.because == (
        f"NaN or infinity was recorded as learning rate, in the trial {trace.trial}, on which no "
        "verdict can rest"
    )
