"""Walks over an autograd graph: each node once, in the order that was asked for, and not too many."""

from __future__ import annotations

import torch

from pytest_dlcheck.run.tensors.graph import (
    entire,
    inner_first,
    inputs_of,
    leaves,
    nearest,
    roots,
    variables,
    walk,
)


def diamond():
    """One parameter that reaches the loss on two ways: 6 nodes with its own."""
    weight = torch.ones(2, requires_grad=True)
    middle = weight * 2
    return weight, (middle.exp() + middle.sin()).sum()


def test_a_walk_meets_each_node_once_and_nearer_ones_first():
    _, loss = diamond()
    names = [type(node).__name__ for node in walk(roots([loss]))]
    assert names[:2] == ["SumBackward0", "AddBackward0"]
    assert set(names[2:4]) == {"ExpBackward0", "SinBackward0"}
    assert names[4:] == ["MulBackward0", "AccumulateGrad"]


def test_the_nearest_nodes_are_the_first_of_a_walk():
    _, loss = diamond()
    order = list(walk(roots([loss])))
    for most in (1, 3, 6, 9):
        assert nearest(loss.grad_fn, most) == order[:most]


def test_what_is_too_large_is_not_told_in_part():
    _, loss = diamond()
    assert len(entire(roots([loss]), 6)) == len(inner_first(roots([loss]), 6)) == 6
    assert entire(roots([loss]), 5) is None
    assert inner_first(roots([loss]), 5) is None


def test_inner_first_gives_a_node_after_all_that_it_is_made_of():
    _, loss = diamond()
    order = inner_first(roots([loss]), 100)
    for index, node in enumerate(order):
        assert set(inputs_of(node)) <= set(order[:index])


def test_a_walk_goes_only_where_it_is_led():
    _, loss = diamond()
    assert [type(node).__name__ for node in walk(roots([loss]), lambda node: ())] == ["SumBackward0"]


def test_leaves_are_the_tensors_that_get_gradients():
    weight, loss = diamond()
    assert leaves(loss) == [weight] == list(variables(walk(roots([loss]))))
    assert leaves(weight) == [weight]
    assert leaves(loss.detach()) == []
