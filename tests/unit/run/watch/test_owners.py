"""Who steps a set of parameters, for whom schedulers do, and what losses reach besides."""

import torch
import torch.nn.functional as F
from torch import nn

from pytest_dlcheck import watch
from pytest_dlcheck.run.watch.models.visits import Visits
from pytest_dlcheck.run.watch.scene import scene_of
from pytest_dlcheck.run.watch.steps.outsiders import Outsiders
from pytest_dlcheck.run.watch.steps.owners import Owners
from pytest_dlcheck.verdict import Outcome


def stepper(model, lr=0.1):
    return torch.optim.SGD(model.parameters(), lr=lr)


def test_optimizers_are_counted_once_and_their_turns_apart():
    model = nn.Linear(2, 2)
    one, two = stepper(model), stepper(model)
    owners = Owners(one)
    assert [owners.take_over(each) for each in (two, one, two)] == [True, False, False]
    assert (owners.count, owners.turns) == (2, 2)


def test_a_schedule_of_an_optimizer_that_was_replaced_is_misdirected():
    model = nn.Linear(2, 2)
    old, new = stepper(model), stepper(model, lr=0.05)
    owners = Owners(old)
    owners.take_over(new)
    for _ in range(3):
        owners.schedule_steps(old, new)
    assert owners.misdirected == 3
    owners.take_over(old)
    assert owners.misdirected == 0


def test_a_schedule_of_one_with_the_same_rates_is_not():
    model = nn.Linear(2, 2)
    outer, inner = stepper(model), stepper(model)
    owners = Owners(outer)
    owners.schedule_steps(inner, outer)
    assert owners.misdirected == 0


def seen(*, frozen=False, held=False, moved=False, late=False):
    """What is told of an encoder that no optimizer of the loop steps."""
    encoder, head, visits = nn.Linear(32, 32), nn.Linear(32, 2), Visits()
    optimizer, other = stepper(head), stepper(encoder) if held else None
    encoder.requires_grad_(not frozen)
    outsiders = Outsiders(visits)
    visits.begins(with_gradients=True)
    for part in (head, encoder) if late else (encoder, head):
        visits.add(part)
    stepped = {id(p) for p in head.parameters()}
    for _ in range(2):
        leaves = [p for p in (*encoder.parameters(), *head.parameters()) if p.requires_grad]
        others = outsiders.look(leaves, stepped)
        outsiders.note(others, [encoder, head], [optimizer, *filter(None, [other])], head)
        if moved:
            with torch.no_grad():
                encoder.weight.add_(1)
                encoder.bias.add_(1)
    return outsiders.rows(stepped, confused=False)


def test_parameters_that_no_optimizer_holds_are_told_with_their_names():
    rows = seen()
    assert {row["name"] for row in rows} == {"Linear.weight", "Linear.bias"}
    assert {row["name"]: row["untrained"] for row in rows}["Linear.weight"] is True


def test_what_comes_after_the_trained_model_is_not_called_untrained():
    assert {row["untrained"] for row in seen(late=True)} == {None}


def test_frozen_held_or_moved_parameters_are_not_forgotten():
    assert seen(frozen=True) == seen(held=True) == seen(moved=True) == ()


def test_a_loss_without_parameters_is_counted():
    outsiders, weight = Outsiders(Visits()), nn.Parameter(torch.ones(2))
    outsiders.look([torch.ones(1, requires_grad=True)], {id(weight)})
    outsiders.look([weight], {id(weight)})
    assert (outsiders.looked, outsiders.rootless) == (2, 1)


def names_of(*, called):
    """How what an optimizer steps besides a pair of layers, its root, is called."""
    pair, other = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), nn.Linear(4, 2)
    optimizer = torch.optim.SGD([*pair.parameters(), other.weight], lr=0.1)
    scene = scene_of(optimizer, [pair, *pair, other], [pair, *([other] if called else [])])
    return [name for name in scene.parameters if not name[0].isdigit()]


def test_what_is_beside_the_root_is_named_by_its_module_where_that_is_called():
    assert names_of(called=True) == ["Linear.weight"]
    assert names_of(called=False) == ["param_groups[0][4]"]


def probe(*, resets=True):
    """A linear probe: an optimizer over the head alone, after one over the whole; returns what failed.

    The encoder's last gradients lie there still.
    """
    torch.manual_seed(0)
    layers = [layer for _ in range(7) for layer in (nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU())]
    encoder, head = nn.Sequential(*layers), nn.Linear(8, 2)
    model = nn.Sequential(encoder, head)
    x = torch.randn(320, 8)
    y = (x[:, 0] > 0).long()

    def epochs(optimizer, count, *, resets=True):
        for _ in range(count):
            for rows in torch.randperm(320).split(32):
                if resets:
                    optimizer.zero_grad()
                F.cross_entropy(model(x[rows]), y[rows]).backward()
                optimizer.step()

    with watch() as run:
        epochs(stepper(model), 4)
        encoder.requires_grad_(requires_grad=False).eval()
        epochs(stepper(head), 20, resets=resets)
    return {
        f.verdict.check: f.verdict.cause for f in run.findings if f.verdict.outcome is Outcome.FAILED
    }


def test_an_optimizer_over_the_head_alone_applies_fresh_gradients():
    assert not probe()


def test_its_gradients_are_judged_as_any_others():
    assert "zero_grad is missing" in probe(resets=False)["steps_are_in_order"]
