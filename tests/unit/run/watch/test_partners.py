"""Inputs that lose their targets are told from labels that change for a reason."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck.run.losses.graphs.near import Near
from pytest_dlcheck.run.watch.losses.partners import Couples, Partnerships

N = 96
X, QUANTITIES = torch.rand(N, 5), torch.rand(N, 1)
CLASSES = torch.randint(4, (N,), generator=torch.Generator().manual_seed(0))


def told(pairs, model=None, compare=None):
    """Losses of which inputs have others' targets, and those that tell."""
    torch.manual_seed(0)
    couples, found = Couples(), Partnerships()
    model = model or nn.Linear(5, 4)
    for x, y in pairs():
        out = model(x)
        loss = compare(out, y) if compare else F.cross_entropy(out, y)
        found.add(couples.look(Near.of_loss(loss.grad_fn), [x], [], [y]))
    row = found.row()
    return row["swapped"], row["swappable"]


def regressed(pairs):
    return told(pairs, nn.Linear(5, 1), F.mse_loss)


def shuffled(size, targets, *, both=False, passes=6):
    def pairs():
        x, y = X, targets
        for _ in range(passes):
            order = torch.randperm(N)
            x, y = x[order], y[order] if both else y
            yield from zip(x.split(size), y.split(size), strict=True)

    return pairs


@pytest.mark.parametrize("size", [N, 32])
def test_inputs_shuffled_alone_are_told(size):
    for swapped, tells in (told(shuffled(size, CLASSES)), regressed(shuffled(size, QUANTITIES))):
        assert swapped == tells >= 5


def test_and_so_they_are_where_quantities_are_shuffled_afterwards():
    def pairs():
        for x, y in shuffled(N, QUANTITIES, passes=4)():
            order = torch.randperm(N)
            yield from zip(x[order].split(32), y[order].split(32), strict=True)

    swapped, tells = regressed(pairs)
    assert swapped == tells >= 5


def drawn(labels, size=32):
    """A pass in another order each, with labels of its own."""

    def pairs():
        for _ in range(6):
            order, own = torch.randperm(N), labels()
            yield from zip(X[order].split(size), own[order].split(size), strict=True)

    return pairs


def anew():
    return torch.where(torch.rand(N) < 0.3, torch.randint(4, (N,)), CLASSES)


def test_classes_by_lot_are_told():
    swapped, tells = told(drawn(lambda: CLASSES[torch.randperm(N)]))
    assert swapped == tells >= 5


def test_classes_by_lot_are_told_of_small_batches_together():
    swapped, tells = told(drawn(lambda: CLASSES[torch.randperm(N)], size=12))
    assert swapped == tells >= 5
    assert told(drawn(lambda: CLASSES, size=12)) == (0, 0)
    assert told(drawn(anew, size=12)) == (0, 0)


def test_actions_are_no_classes():
    def weighed(out, actions):
        return (F.cross_entropy(out, actions, reduction="none") * torch.rand(len(out))).mean()

    assert told(drawn(lambda: torch.randint(4, (N,))), compare=weighed)[0] == 0


def taught():
    """A pass with labels, and one with those of an untrained teacher, who has its own preferences."""
    says = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 2, 2])[torch.randint(10, (N,))]
    for labels in (CLASSES, says):
        order = torch.randperm(N)
        yield from zip(X[order].split(32), labels[order].split(32), strict=True)


def episodes(labels):
    def pairs():
        for _ in range(20):
            yield X[torch.randperm(N)[:40]], labels

    return pairs


@pytest.mark.parametrize(
    "pairs",
    [
        shuffled(32, CLASSES, both=True),
        drawn(anew),
        drawn(lambda: torch.randperm(4)[CLASSES]),
        drawn(lambda: torch.randint(4, (N,)) if torch.rand(()) < 0.5 else CLASSES),
        taught,
        episodes(torch.arange(4).repeat(10)),
        episodes(torch.arange(4).repeat_interleave(10)),
        episodes((torch.arange(40) == 5).long()),
    ],
    ids=[
        "both",
        "noise",
        "clusters",
        "lost now and then",
        "taught",
        "episodes",
        "sorted episodes",
        "one of many",
    ],
)
def test_other_changes_of_classes_are_none(pairs):
    assert told(pairs)[0] == 0


def ranks():
    """As if it were of each batch: the same numbers in all."""
    return torch.cat([torch.randperm(32)[:, None] / 32 for _ in range(3)])


@pytest.mark.parametrize("labels", [lambda: QUANTITIES + 0.1 * torch.randn(N, 1), ranks])
def test_other_changes_of_quantities_are_none(labels):
    assert regressed(drawn(labels))[0] == 0


def test_pairs_within_a_batch_are_none():
    def pairs():
        for _ in range(12):
            yield X[torch.randperm(N)[:32]], torch.eye(32)

    assert told(pairs, nn.Linear(5, 32), F.binary_cross_entropy_with_logits) == (0, 0)


def test_outputs_that_are_put_back_into_order_are_none():
    class Sorts(nn.Module):
        def forward(self, x):
            return nn.functional.linear(x[:, :4], weight)[torch.randperm(len(x))]

    weight = torch.rand(4, 4, requires_grad=True)
    assert told(shuffled(N, CLASSES), Sorts()) == (0, 0)


def test_two_tasks_on_the_same_inputs_are_none():
    def pairs():
        for turn in range(12):
            yield X, (CLASSES + turn % 2) % 4

    assert told(pairs)[0] == 0


def of_two(second, *, shuffles_second=True):
    """Classes stay where they are, and so may what is given beside the inputs."""
    torch.manual_seed(0)
    couples, found, model = Couples(), Partnerships(), nn.Linear(5, 4)
    x, further = X, second
    for _ in range(6):
        order = torch.randperm(N)
        x, further = x[order], further[order] if shuffles_second else further
        for a, b, y in zip(x.split(32), further.split(32), CLASSES.split(32), strict=True):
            loss = F.cross_entropy(model(a) + b.sum(), y)
            found.add(couples.look(Near.of_loss(loss.grad_fn), [a], [b], [y]))
    row = found.row()
    return row["swapped"], row["swappable"]


def test_samples_are_told_apart_by_all_that_a_model_is_given():
    swapped, tells = of_two(torch.randint(3, (N, 2)))
    assert swapped == tells >= 5
    assert of_two(torch.arange(N)[:, None], shuffles_second=False)[1] == 0


def test_what_is_of_no_sample_leaves_it_untold():
    couples, model = Couples(), nn.Linear(5, 4)
    nodes = Near.of_loss(F.cross_entropy(model(X), CLASSES).grad_fn)
    for further in (torch.rand(5), torch.rand(()), X * model.weight.sum()):
        assert couples.look(nodes, [X], [further], [CLASSES]) is None
