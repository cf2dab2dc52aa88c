"""Classes that a validation has and no training are told, where all of a training is known."""

import pytest
import torch
from torch.utils.data import DataLoader, SubsetRandomSampler, TensorDataset

from pytest_dlcheck.run.watch.batches.loading import Loading
from pytest_dlcheck.run.watch.batches.new_classes import NewClasses, labels_of

SORTED = torch.arange(10).repeat_interleave(20)


def loader(labels, **how):
    return DataLoader(TensorDataset(torch.rand(len(labels), 2), labels), **{"batch_size": 16, **how})


class Loop:
    """Reads loaders, and steps."""

    def __init__(self):
        self.heard, self.steps = NewClasses(), 0

    def read(self, data, *, steps=0, evaluates=False, batches=99):
        """One pass."""
        reading = iter(data)
        for number, batch in enumerate(reading):
            if number == batches:
                return self
            if not number:
                self.heard.pass_begins(reading, len(reading), self.steps)
            if self.heard.open is not None:
                self.heard.open.add(batch)
            self.heard.is_evaluated(Loading() if evaluates else None)
            self.steps += steps
        return self

    def train(self, data, **how):
        return self.read(data, steps=1, **how)

    def evaluate(self, data):
        return self.read(data, evaluates=True)

    def share(self):
        """Of the labels of a validation that are new."""
        rows = self.heard.rows(self.steps)
        return rows[0].number("share") if rows else 0.0


def test_data_cut_by_class_are_told():
    loop = Loop()
    for _ in range(3):
        loop.train(loader(SORTED[:160], shuffle=True)).evaluate(loader(SORTED[150:]))
    (row,) = loop.heard.rows(loop.steps)
    assert row.number("share") == 0.8
    assert row.text("new_classes") == "8, 9"
    assert row.flag("at_an_end")


ONE, OTHER, ALL = loader(SORTED[:100]), loader(SORTED[100:]), loader(SORTED)


@pytest.mark.parametrize(
    "loop",
    [
        lambda loop: loop.train(ALL).evaluate(OTHER),
        lambda loop: loop.train(ONE).evaluate(OTHER).train(OTHER),
        lambda loop: loop.evaluate(OTHER).evaluate(OTHER).evaluate(OTHER).train(ONE).train(OTHER),
        lambda loop: loop.train(ONE, batches=3).evaluate(OTHER),
        lambda loop: loop.train(ONE).train(ALL, batches=3).evaluate(OTHER),
        lambda loop: loop.train(ONE).read(OTHER),
        lambda loop: loop.train(ONE).evaluate(loader(torch.full((64,), -1))),
        lambda loop: loop.train(ONE).evaluate(loader(SORTED[100:].float())),
    ],
    ids=[
        *("all classes", "trained later", "evaluated first", "broken off", "another broken off"),
        *("not evaluated", "unknown ones", "quantities"),
    ],
)
def test_others_are_none(loop):
    assert loop(Loop()).share() == 0


def test_tasks_by_sampler_over_one_data_set_are_none():
    data, loop = TensorDataset(torch.rand(200, 2), SORTED), Loop()
    for task in range(5):
        chosen = (task == SORTED // 2).nonzero().flatten().tolist()
        loop.train(DataLoader(data, 16, sampler=SubsetRandomSampler(chosen)))
        loop.evaluate(DataLoader(data, 16))
    assert loop.share() == 0


def test_too_many_loaders_are_none():
    loop = Loop().train(ONE).evaluate(OTHER)
    for _ in range(70):
        loop.train(loader(SORTED[:32]))
    assert loop.share() == 0


@pytest.mark.parametrize(
    "batch",
    [
        torch.rand(4, 2),
        [torch.rand(4, 2)],
        (torch.rand(4, 2), torch.rand(4)),
        (torch.rand(4, 2), torch.zeros(4, 2, dtype=torch.long)),
        (torch.rand(4, 2), torch.tensor(3)),
        (torch.rand(4, 2), torch.eye(4).long().to_sparse()),
        {"image": torch.rand(4, 2), "label": ["a", "b", "c", "d"]},
        None,
    ],
)
def test_what_is_no_label_is_none(batch):
    assert labels_of(batch) is None


def test_labels_come_second_or_by_name():
    labels = torch.arange(4)
    assert labels_of((torch.rand(4, 2), labels)) is labels
    assert labels_of({"image": torch.rand(4, 2), "label": labels}) is labels
    assert labels_of((torch.rand(4, 2), torch.rand(4, 3), labels)) is labels
    assert labels_of((torch.rand(4, 2), labels, torch.arange(4))) is labels
    assert labels_of((torch.rand(4, 2), torch.rand(4), torch.arange(4), labels)) is None
