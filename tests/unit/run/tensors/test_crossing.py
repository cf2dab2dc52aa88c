"""Inputs and targets are told apart and paired anew; what has no pairs is refused with its reason."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import nn

from pytest_dlcheck import Recipe
from pytest_dlcheck.run.errors import NotApplicableError
from pytest_dlcheck.run.tensors.crossing import BlindFeed, Crossing, rolled

MODEL = nn.Linear(1, 1)
INPUTS = torch.arange(4.0).view(4, 1)
TARGETS = torch.arange(4)


class Named(NamedTuple):
    first: torch.Tensor
    second: torch.Tensor


def recipe(**parts):
    return Recipe(model=MODEL, train_data=[0], loss=nn.MSELoss(), **parts)


def values(tensor):
    return tensor.flatten().tolist()


@pytest.mark.parametrize(
    ("batch", "parts"),
    [
        ((INPUTS, TARGETS), {}),
        ([INPUTS, TARGETS], {}),
        (Named(INPUTS, TARGETS), {}),
        ((INPUTS, INPUTS, TARGETS), {"targets": lambda b: b[2], "forward": lambda m, b: m(b[0])}),
        (((INPUTS, INPUTS), TARGETS), {}),
    ],
    ids=["pair", "list", "named", "targets=", "two inputs"],
)
def test_inputs_move_and_targets_stay(batch, parts):
    crossed = Crossing(recipe(**parts), batch).crossed(batch, 1)
    assert type(crossed) is type(batch)
    first = crossed[0] if isinstance(crossed[0], torch.Tensor) else crossed[0][1]
    assert values(first) == [3, 0, 1, 2]
    assert values(crossed[-1]) == [0, 1, 2, 3]


def test_a_dict_moves_all_but_its_targets():
    batch = {"input_ids": INPUTS, "mask": TARGETS, "labels": TARGETS.clone()}
    crossing = Crossing(recipe(), batch)
    crossed = crossing.crossed(batch, 1)
    assert values(crossed["input_ids"]) == values(crossed["mask"]) == [3, 0, 1, 2]
    assert values(crossed["labels"]) == [0, 1, 2, 3]
    moved = crossing.moved(batch, 1)
    assert values(moved["input_ids"]) == [0, 1, 2, 3]
    assert values(moved["labels"]) == [3, 0, 1, 2]


def test_lists_of_samples_move_as_a_whole():
    images = [torch.zeros(3, size, size) for size in (4, 5, 6, 7)]
    boxes = tuple({"boxes": torch.ones(count, 4)} for count in (1, 2, 3, 4))
    crossed = Crossing(recipe(), (images, boxes)).crossed((images, boxes), 1)
    assert [len(image[0]) for image in crossed[0]] == [7, 4, 5, 6]
    assert crossed[1] is boxes
    assert [len(box["boxes"]) for box in rolled(boxes, 1, 4)] == [4, 1, 2, 3]


def test_time_first_moves_along_the_batch():
    inputs = torch.arange(6.0).view(2, 3)
    crossed = Crossing(recipe(batch_dim=1), (inputs, TARGETS[:3])).crossed((inputs, TARGETS[:3]), 1)
    assert crossed[0].tolist() == [[2, 0, 1], [5, 3, 4]]


@pytest.mark.parametrize(
    ("batch", "parts", "words"),
    [
        (INPUTS, {}, "cannot be told apart"),
        ((INPUTS, TARGETS, TARGETS), {}, "cannot be told apart"),
        ({"input_ids": INPUTS}, {}, "names no targets"),
        ((INPUTS, TARGETS), {"targets": lambda b: b[0] * 2}, "makes the targets"),
        ((INPUTS, TARGETS), {"batch_dim": None}, "do not stand alone"),
    ],
    ids=["tensor", "three", "no labels", "made targets", "no samples"],
)
def test_what_has_no_pairs_is_refused(batch, parts, words):
    with pytest.raises(NotApplicableError, match=words):
        Crossing(recipe(**parts), batch)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_no_target_keeps_its_own_inputs(size):
    stream = [
        (torch.full((size, 1), float(i)) * 10 + torch.arange(size).view(-1, 1), i) for i in range(9)
    ]
    batches = [(x, x[:, 0].clone()) for x, _ in stream]
    feed = BlindFeed(Crossing(recipe(), batches[0]), iter(batches).__next__, batches[1], seed=3)
    given = [feed() for _ in batches]
    for (inputs, targets), (_, before) in zip(given, batches, strict=True):
        assert torch.equal(targets, before)
        assert not (inputs[:, 0] == targets).any()
