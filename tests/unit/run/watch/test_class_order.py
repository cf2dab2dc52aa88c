"""Classes that a loader gives one after the other are told from other orders that are kept."""

import weakref

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from pytest_dlcheck.run.watch.batches.class_order import ClassOrder, labels_in_order

LABELS = torch.arange(4).repeat_interleave(32)


def row_of(labels, passes=2, **how):
    """What is told of a loop over these labels."""
    loader = DataLoader(TensorDataset(torch.rand(len(labels), 2), labels), **{"batch_size": 8, **how})
    order = ClassOrder()
    for _ in range(passes):
        reading = iter(loader)
        for batch in reading:
            found = labels_in_order(weakref.ref(reading), batch, [batch[1].reshape(-1)])
            if found is not None:
                order.add(found)
    return order.row()


@pytest.mark.parametrize("labels", [LABELS, LABELS.flip(0), LABELS[:, None]])
def test_classes_one_after_the_other_are_told_of(labels):
    row = row_of(labels)
    assert row.number("excess") == 1
    assert row.flag("in_order")


def test_an_order_without_runs_is_told_of_as_such():
    torch.manual_seed(0)
    assert row_of(LABELS[torch.randperm(len(LABELS))]).number("excess") < 0.1


@pytest.mark.parametrize(
    ("labels", "how"),
    [
        (LABELS, {"shuffle": True}),
        (LABELS, {"batch_size": None, "batch_sampler": None, "sampler": [[0, 1], [2, 3]]}),
        (LABELS.repeat(2), {}),
        (LABELS.float(), {}),
        (LABELS[:8], {}),
        (torch.zeros(64, dtype=torch.long), {}),
    ],
    ids=["shuffled", "batches of their own", "runs that come again", "quantities", "few", "one class"],
)
def test_other_orders_are_left_alone(labels, how):
    assert row_of(labels, passes=1, **how) is None


def test_labels_that_no_loss_compares_are_left_alone():
    reading = iter(DataLoader(TensorDataset(torch.rand(8, 2), LABELS[:8]), 4))
    batch = next(reading)
    assert labels_in_order(weakref.ref(reading), batch, [torch.ones(4, dtype=torch.long)]) is None
