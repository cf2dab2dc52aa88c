"""The nodes next to a loss are found by their kinds, their names and the targets they have kept."""

import torch
import torch.nn.functional as F
from torch import nn

from pytest_dlcheck.run.losses.graphs.near import NODES, OF_CLASSES, Near
from pytest_dlcheck.run.tensors.graph import nearest

CLASSES = torch.tensor([0, 2, 1, 2])


class Exp(torch.autograd.Function):
    """A user's own, named as one of torch's."""

    @staticmethod
    def forward(ctx, x):
        return x.exp()

    @staticmethod
    def backward(ctx, grad):
        return grad


def outputs(*layers):
    return nn.Sequential(nn.Linear(5, 3), *layers)(torch.randn(4, 5))


def kinds(nodes):
    return [type(node).__name__ for node in nodes]


def test_nodes_are_found_by_their_kinds_the_nearest_first():
    near = Near.of_loss((F.cross_entropy(outputs(nn.Tanh(), nn.Sigmoid()), CLASSES) * 2).grad_fn)
    assert kinds(near.of({"Tanh", "Sigmoid", "Mul"})) == [
        "MulBackward0",
        "SigmoidBackward0",
        "TanhBackward0",
    ]
    assert near.of({"Pow"}) == []


def test_targets_are_those_of_each_loss_by_its_node():
    scores, values = outputs(), torch.rand(4, 3)
    near = Near.of_loss((F.cross_entropy(scores, CLASSES) + F.mse_loss(scores, values)).grad_fn)
    assert {type(node).__name__ for node in near.targets} == {"NllLossBackward0", "MseLossBackward0"}
    (of_classes,) = near.of(OF_CLASSES)
    assert torch.equal(near.targets[of_classes], CLASSES)
    assert not Near.of_loss((scores - values).square().mean().grad_fn).targets


def test_a_users_function_is_of_no_kind_but_has_a_name():
    near = Near.of_loss(Exp.apply(outputs()).exp().mean().grad_fn)
    assert kinds(near.of({"Exp"})) == ["ExpBackward0"]
    assert kinds(near.named("ExpBackward")) == ["ExpBackward0", "ExpBackward"]
    assert near.named("LogBackward") == []


def test_only_a_whole_graph_lacks_anything():
    loss = outputs(*(nn.Tanh() for _ in range(NODES))).mean()
    part, whole = Near.of_loss(loss.grad_fn), Near.of_loss(outputs().mean().grad_fn)
    assert len(part.nodes) == NODES
    assert not part.lacks({"Addmm"})  # which is farther than was walked
    assert not part.of({"Addmm"})
    assert whole.lacks({"Tanh"})
    assert not whole.lacks({"Addmm", "Tanh"})
    assert not Near(nearest(loss.grad_fn, 3)).lacks({"Addmm"})
