"""What is advised where a fault is likely is not said of healthy loops that look alike."""

import pytest

from . import (
    faults_of_axes,
    faults_of_clipping,
    faults_of_ends,
    faults_of_frozen_later,
    faults_of_guessing,
    faults_of_hand_cut,
    faults_of_idle_schedules,
    faults_of_late_copies,
    faults_of_one_slice,
    faults_of_order,
    faults_of_pairs,
    faults_of_rows,
    faults_of_schedules,
    faults_of_teachers,
    faults_of_weighing,
    rarer,
    tutorials,
    unusual,
)
from .test_loops import watched

SILENT = [
    *((loop, "call eval() on it") for loop in faults_of_teachers.QUIET),
    *((loop, "to be synchronised") for loop in faults_of_teachers.QUIET),
    *((loop, "running statistics") for loop in faults_of_frozen_later.QUIET),
    *((loop, "the episode is over") for loop in faults_of_ends.QUIET),
    (faults_of_ends.values_that_end, "the episode is over"),
    (faults_of_ends.two_networks_whose_values_end, "the episode is over"),
    *((loop, "come after the step") for loop in faults_of_clipping.QUIET),
    *((loop, "clipped just before") for loop in faults_of_clipping.QUIET),
    *(
        (loop, "are shifted")
        for loop in faults_of_pairs.QUIET
        if loop is not faults_of_pairs.shifted_by_the_model
    ),
    *((loop, "an average is to be updated") for loop in faults_of_hand_cut.UNTOLD),
    *((loop, "to be synchronised") for loop in faults_of_hand_cut.UNTOLD),
    *((loop, "one batch for ever") for loop in faults_of_one_slice.UNTOLD),
    *((loop, "others of its size") for loop in faults_of_one_slice.WHOLE),
    *((loop, "guessing") for loop in faults_of_guessing.UNTOLD),
    *((loop, "every sample the same") for loop in faults_of_guessing.UNTOLD),
    *((loop, "the training began with") for loop in faults_of_late_copies.QUIET),
    *((loop, "reads each row") for loop in faults_of_rows.QUIET),
    *((loop, "never stepped") for loop in faults_of_idle_schedules.QUIET),
    (faults_of_order.all_asked_for_at_once, "sees the same batch"),
    (tutorials.results_and_targets_viewed_alike, "are the targets as"),
    (faults_of_schedules.steps_up_to_the_rate, "do milestones count"),
    *((loop, "steps in a row") for loop in faults_of_order.QUIET),
    *(
        (loop, words)
        for loop in faults_of_weighing.QUIET
        for words in ("the mean is over all", "wrong sign", "into the targets")
    ),
    *rarer.UNTOLD,
    *unusual.UNTOLD,
    *faults_of_axes.UNTOLD,
]


@pytest.mark.parametrize("loop", dict.fromkeys(loop for loop, _ in SILENT))
def test_a_healthy_loop_is_not_advised_so(loop):
    said = " ".join(advice for verdict in watched(loop).verdicts for advice in verdict.advice)
    assert [words for one, words in SILENT if one is loop and words in said] == []
