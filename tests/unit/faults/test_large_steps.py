"""What is to blame for steps that are too large, other than the learning rate."""

from __future__ import annotations

import pytest

from pytest_dlcheck.check import example_trace
from pytest_dlcheck.faults.dynamics.breakage import cause_of
from pytest_dlcheck.faults.dynamics.large_steps import why_too_large
from pytest_dlcheck.faults.dynamics.update import too_large
from pytest_dlcheck.trace import Row, Series


def trained(*, undivided=0, momentum=0.9):
    """A loop whose steps are made of four micro-batches."""
    return example_trace(
        loss=Series((0, 1), (2.0, 20.0)),
        learning_rate=Series((0, 1), (0.06, 0.06)),
        recipe=Row(optimizer="SGD"),
        loop=Row(strands=1, micro_batches=4),
        comparisons=Row(looked=12, undivided=undivided),
        optimizer_groups=(Row(optimizer="SGD", momentum=momentum),),
    )


@pytest.mark.parametrize(
    ("trace", "words"),
    [
        (trained(undivided=12), "undivided"),
        (trained(momentum=0.999), "momentum"),
        (trained(undivided=12, momentum=0.999), "momentum"),
        (trained(), "learning rate"),
    ],
)
def test_every_check_blames_the_same(trace, words):
    assert words in too_large(trace, 2.0, 1.0).cause
    assert words in cause_of(trace, 2.0).cause
    assert (why_too_large(trace) is None) is (words == "learning rate")
