"""Loops that were written before anyone measured on them, by somebody who had not seen the checks.

First measured on 21 November 2026: of 34 faults 22 failed, 21 of them by name, and 5 more were advice
that names them; no alarm on the 34 twins, one on the 20 healthy loops beside them (optimizers within
backward, mended since). What was missed then stands in ``UNFOUND``. They are open now: what is made for
them is to be measured on others.
"""

from __future__ import annotations

import pytest

from .how_told import failures, told, watched
from .sealed_faults import SEALED
from .sealed_healthy import SEALED_HEALTHY

ADVISED = {
    "network_for_every_epoch",
    "accumulated_and_not_divided",
    "frozen_backbone_in_train_mode",
    "rows_instead_of_images",
    "quarters_taken_for_images",
    "policy_that_flees_reward",  # Where the numbers are costs, its sign is right.
}
"""Told as advice, rightly."""
UNFOUND = {
    "generator_that_never_moves_on",
}
"""Not told, or by another name."""
pytestmark = pytest.mark.slow
"""Two minutes; the kinds that came out of them are in the quicker files beside it."""


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
@pytest.mark.parametrize("loop", SEALED, ids=lambda f: f.__name__)
def test_what_was_named_is_named(loop):
    how, said = told(watched(loop), SEALED[loop].words)
    if loop.__name__ in UNFOUND and how == "missed":
        pytest.xfail("not told, or by another name")
    # The lists are kept: what is told better by now is taken from them.
    assert how == ("advised" if loop.__name__ in ADVISED else "failed"), said


@pytest.mark.parametrize("loop", [*(fault.twin for fault in SEALED.values()), *SEALED_HEALTHY])
def test_a_healthy_one_raises_no_alarm(loop):
    assert failures(watched(loop)) == []
