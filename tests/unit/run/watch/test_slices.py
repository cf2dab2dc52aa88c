"""What is always the same slice of a tensor is told from what moves, is copied, or is cut once."""

import pytest
import torch

from pytest_dlcheck.run.watch.batches.slices import Slices

DATA = torch.randn(100, 4)


def row(train, *, steps=10, ask=None):
    seen = Slices()
    for step in range(steps):
        seen.sees((train(step),), trains=True, from_loader=False)
        if ask and step % 5 == 4:
            seen.sees((ask(step),), trains=False, from_loader=False)
    return seen.row()


def test_the_same_rows_are_counted():
    found = row(lambda _: DATA[:10], ask=lambda _: DATA[90:])
    assert (found.integer("looked"), found.integer("rows"), found.integer("of")) == (10, 10, 100)
    assert found.integer("asked") == 10


def test_a_batch_of_batches_is_a_slice():
    batches = torch.randn(25, 16, 4)
    found = row(lambda _: batches[3])
    assert (found.integer("rows"), found.integer("of")) == (1, 25)


def test_questions_about_the_same_rows_ask_for_no_others():
    assert row(lambda _: DATA[:10], ask=lambda _: DATA[:10]).integer("asked") == 0


def test_parts_that_overlap_are_counted_once():
    found = row(lambda _: DATA[:10], ask=lambda step: DATA[50 : 60 + step])
    assert found.integer("asked") == 19


ONCE = DATA[:10]


@pytest.mark.parametrize(
    "train",
    [
        lambda step: DATA[step : step + 10],
        lambda _: ONCE,
        lambda _: DATA[:10].clone(),
        lambda _: DATA[:, :2],
        lambda _: DATA[::2],
        lambda _: DATA,
        lambda _: DATA[:10].view(20, 2),
    ],
    ids=["moves", "cut once", "copied", "columns", "every other", "all", "viewed otherwise"],
)
def test_others_say_nothing(train):
    assert row(train).integer("looked") == 0


def test_what_a_loader_gives_says_nothing():
    seen = Slices()
    seen.sees((DATA[:10],), trains=True, from_loader=True)
    assert not seen.is_open
