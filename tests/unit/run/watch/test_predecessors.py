"""After which samples others come."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pytest_dlcheck.run.watch.batches.predecessors import predecessors


@dataclass
class Batch:
    step: int
    samples: list[float]
    stream: int = 0

    def values(self):
        return self.samples


def batches(order, size):
    return [Batch(i, part.tolist()) for i, part in enumerate(order.split(size))]


def passes(count, size, draw):
    return batches(torch.cat([draw(count) for _ in range(4)]), size)


def test_in_random_order_they_come_after_others():
    torch.manual_seed(0)
    row = predecessors(passes(120, 10, torch.randperm))
    assert row["repeated"] == 0
    assert row["unlike"] > 0.9 * row["followed"] > 200


def test_in_their_own_order_they_come_after_the_same():
    row = predecessors(passes(120, 10, torch.arange))
    assert (row["repeated"], row["unlike"]) == (0, 0)
    assert row["followed"] > 200


def test_drawn_anew_they_come_again_early():
    torch.manual_seed(0)
    row = predecessors(batches(torch.randint(120, (480,)), 10))
    assert row["repeated"] > 20


def test_only_what_was_seen_in_a_row_is_held_against_each_other():
    seen = passes(120, 10, torch.arange)
    assert predecessors([*seen[:12], *seen[13:]])["followed"] == 0
    assert predecessors([*seen[:12], Batch(12, seen[12].samples, stream=1)])["followed"] == 0


def test_of_nothing_nothing_is_told():
    assert set(predecessors([]).values()) == {0}
