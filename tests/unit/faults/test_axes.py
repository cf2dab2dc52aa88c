"""Of a hidden state that is kept on batches cut by hand: is it one sample's that enters another?"""

from __future__ import annotations

import pytest

from pytest_dlcheck.faults.loop.axes import is_told
from pytest_dlcheck.trace import Row


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({}, True),
        ({"unlike": 16}, False),
        ({"followed": 20, "unlike": 20}, False),
        ({"repeated": 300}, False),
        ({"returned": 33, "followed": 33, "unlike": 33, "repeated": 30}, False),
        ({"followed": None, "unlike": None}, False),
    ],
    ids=["in random order", "a stream", "too few", "few kinds", "drawn anew", "unknown"],
)
def test_the_order_of_samples_decides(found, told):
    order = {"samples": 960, "repeated": 0, "returned": 480, "followed": 480, "unlike": 479}
    row = Row(kind="state", calls=2, turned=2, **{"by_hand": True, **order, **found})
    assert is_told(row) is told


def test_where_a_loader_shuffles_nothing_else_is_asked():
    assert is_told(Row(kind="state", calls=2, turned=2, by_hand=False))
