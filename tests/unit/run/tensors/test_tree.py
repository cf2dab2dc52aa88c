"""Nests of tensors are walked, mapped and taken apart, whatever they are made of."""

from __future__ import annotations

from collections import OrderedDict, UserDict, namedtuple
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from pytest_dlcheck.run.tensors.tree import (
    batch_size,
    map_tensors,
    named_tensors,
    shape_text,
    take,
    tensors,
)

ONE, TWO = torch.ones(4, 2), torch.zeros(4)
Pair = namedtuple("Pair", "first second")  # noqa: PYI024  the untyped kind is what users have


@dataclass
class Output:
    logits: Any
    hidden: Any = None
    count: int = 3
    derived: int = field(default=0, init=False)


NESTS = [
    ONE,
    (ONE, TWO),
    [ONE, "text", 3, None],
    Pair(ONE, TWO),
    {"a": ONE, "b": {"c": [TWO]}},
    OrderedDict(x=ONE),
    Output(ONE, (TWO,)),
]


@pytest.mark.parametrize("nest", NESTS, ids=lambda nest: type(nest).__name__)
def test_mapping_keeps_the_form_and_changes_every_tensor(nest):
    mapped = map_tensors(nest, lambda t: t + 1)
    assert type(mapped) is type(nest)
    pairs = zip(named_tensors(nest, ""), named_tensors(mapped, ""), strict=True)
    for (place, before), (same_place, after) in pairs:
        assert place == same_place
        assert torch.equal(after, before + 1)


def test_a_mapping_of_ones_own_kind_is_kept():
    mapped = map_tensors(UserDict(a=ONE), lambda t: t * 2)
    assert isinstance(mapped, UserDict)
    assert torch.equal(mapped["a"], ONE * 2)


def test_every_tensor_has_its_place():
    nest = {"x": (ONE, [TWO]), "y": Output(ONE)}
    assert [name for name, _ in named_tensors(nest, "out")] == [
        "out.x[0]",
        "out.x[1][0]",
        "out.y.logits",
    ]
    assert len(tensors(nest)) == 3


def test_taking_samples_leaves_what_is_not_per_sample():
    batch = {"x": ONE, "weights": torch.ones(7), "scale": torch.tensor(2.0), "name": "a"}
    taken = take(batch, torch.tensor([3, 3, 0]), 0)
    assert taken["x"].shape == (3, 2)
    assert taken["weights"].shape == (7,)
    assert taken["scale"].shape == ()
    assert taken["name"] == "a"


def test_the_batch_axis_may_be_another():
    assert batch_size((torch.ones(5, 4, 2),), 1) == 4
    assert batch_size("nothing", 0) is None


def test_shapes_in_words():
    assert shape_text((ONE, TWO.long())) == "[0] (4, 2) float32, [1] (4,) int64"
    assert shape_text(ONE) == "tensor (4, 2) float32"
    assert shape_text(3) == "a int"


@pytest.mark.parametrize(
    ("batch", "size"),
    [
        (((torch.arange(70), torch.arange(8)), torch.zeros(8).long()), None),
        (((torch.arange(8), torch.arange(70)), torch.zeros(8).long()), None),
        (((torch.randn(70, 3), torch.arange(8)), torch.zeros(8)), None),
        ((torch.arange(70), torch.zeros(8)), None),
        (((torch.randn(8, 3), torch.randn(70, 5)), torch.zeros(8)), 8),
        (((torch.arange(8), torch.randn(70, 5)), torch.zeros(8)), 8),
        (((torch.randn(8, 5, 3), torch.ones(5, 5)), torch.zeros(8)), 8),
        (((torch.randn(8, 5, 3), torch.arange(5)), torch.zeros(8)), 8),
        (((torch.randn(8, 5), torch.rand(10)), torch.zeros(8).long()), 8),
    ],
    ids=[
        "offsets",
        "offsets first",
        "nodes",
        "lengths apart",
        "a table",
        "numbers and a table",
        "a mask",
        "positions",
        "weights of classes",
    ],
)
def test_samples_that_lie_end_to_end_are_not_counted_as_rows(batch, size):
    assert batch_size(batch, 0) == size
