"""What is told of resets between two steps: parts left out, and backward passes thrown away."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pytest_dlcheck import watch
from pytest_dlcheck.run.watch.batches.loading import Loading
from pytest_dlcheck.run.watch.steps.drops import Drops
from pytest_dlcheck.run.watch.steps.gradients import Gradients
from pytest_dlcheck.run.watch.steps.parts import Parts


def two_layers():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def by_setting_none(layer):
    layer.zero_grad()


def in_place(layer):
    layer.zero_grad(set_to_none=False)


def without_a_sign(layer):
    for p in layer.parameters():
        if p.grad is not None:
            p.grad.data.zero_()


def stepped(reset, steps=5, rates=(0.1, 0.1)):
    """The parts of a model that is trained, ``reset(model)`` before each backward."""
    model, parts = two_layers(), Parts()
    groups = [{"params": model[i].parameters(), "lr": rates[k]} for k, i in enumerate((0, 2))]
    optimizer = torch.optim.SGD(groups)
    for step in range(steps):
        reset(model)
        parts.backward_begins()
        model(torch.rand(6, 4)).square().mean().backward()
        parts.backward_ends()
        parts.applied(optimizer)
        optimizer.step()
        parts.step_ends(step + 1, optimizer)
    return model, parts


@pytest.mark.parametrize("way", [by_setting_none, in_place])
def test_a_part_that_is_never_reset_is_told(way):
    model, parts = stepped(lambda model: way(model[0]))
    assert (parts.looked, parts.partial) == (4, 4)
    assert set(parts.kept) == {id(p) for p in model[2].parameters()}


@pytest.mark.parametrize("way", [by_setting_none, in_place, without_a_sign])
def test_parts_that_are_reset_in_different_ways_are_no_part(way):
    _, parts = stepped(lambda model: (by_setting_none(model[0]), way(model[2])))
    assert (parts.looked, parts.partial) == (4, 0)


def test_nothing_reset_is_no_part():
    assert stepped(lambda _: None)[1].partial == 0


def test_a_group_that_does_not_move_is_left_alone():
    assert stepped(lambda model: by_setting_none(model[0]), rates=(0.1, 0.0))[1].partial == 0


def test_a_step_of_another_optimizer_ends_the_look():
    model, parts = two_layers(), Parts()
    whole, head = (torch.optim.SGD(m.parameters(), lr=0.1) for m in (model, model[2]))
    for step, optimizer in enumerate((whole, head, whole, head)):
        model[2].zero_grad()
        parts.backward_begins()
        model(torch.rand(6, 4)).square().mean().backward()
        parts.backward_ends()
        parts.applied(optimizer)
        parts.step_ends(step + 1, optimizer)
    assert parts.looked == 0


def dropped(batches, *, before_second=lambda model, x: None, after=lambda model: None, steps=4):
    """Drops of a model whose batches, several a step, are each reset before the next."""
    model = two_layers()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    gradients, drops, loading = (
        Gradients(list(model.parameters())),
        Drops(list(model.parameters())),
        Loading(),
    )
    for _ in range(steps):
        for i, x in enumerate(batches()):
            if i:
                before_second(model, x)
            optimizer.zero_grad()
            drops.called((x,), loading)
            loss = F.mse_loss(model(x), torch.ones(len(x), 3))
            gradients.backward_begins()
            drops.backward_begins()
            loss.backward()
            if gradients.backward_ends():
                drops.backward_ends()
        after(model)
        drops.applied(gradients)
        optimizer.step()
        gradients.step_ends()
        drops.step_ends()
    return drops.row()


def halves():
    return torch.rand(12, 4).chunk(2)


def test_parts_of_a_batch_that_reset_each_other_are_micro_batches():
    row = dropped(halves)
    assert (row["drop_steps"], row["drop_looked"], row["drop_micro_batches"]) == (4, 3, 3)
    assert (row["drop_lost"], row["drop_passes"]) == (3, 6)


def test_batches_of_unknown_origin_are_not_taken_for_micro_batches():
    row = dropped(lambda: (torch.rand(6, 4), torch.rand(6, 4)))
    assert (row["drop_plain"], row["drop_micro_batches"]) == (3, 0)


def perturbed(model, _):
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.01)


def combined(model):
    for p in model.parameters():
        p.grad.data.add_(torch.randn_like(p))


def test_a_backward_that_moves_parameters_serves_something():
    assert dropped(halves, before_second=perturbed)["drop_plain"] == 0


def test_gradients_that_are_put_together_serve_something():
    assert dropped(halves, after=combined)["drop_plain"] == 0


def test_a_backward_for_the_gradient_of_inputs_serves_something():
    assert dropped(lambda: [h.clone().requires_grad_() for h in halves()])["drop_plain"] == 0


def test_a_second_look_at_the_same_samples_serves_something():
    def again():
        x = torch.rand(6, 4)
        return x, x + 0

    assert dropped(again)["drop_plain"] == 0


def test_clipped_gradients_are_still_those_of_the_last_backward():
    row = dropped(halves, after=lambda model: nn.utils.clip_grad_norm_(model.parameters(), 1e-3))
    assert row["drop_micro_batches"] == 3


def kept(reset, steps=40):
    """Steps at which gradients of the one before are still there, ``reset(model)`` after each."""
    model = two_layers()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    gradients, count = Gradients(list(model.parameters())), 0
    for step in range(steps):
        gradients.backward_begins()
        count += not gradients.was_reset
        model(torch.rand(6, 4)).square().mean().backward()
        gradients.backward_ends()
        optimizer.step()
        gradients.step_ends()
        reset(model, step)
    return count


@pytest.mark.parametrize("way", [by_setting_none, in_place, without_a_sign])
def test_resets_of_any_way_are_seen_as_long_as_they_go_on(way):
    assert kept(lambda model, _: way(model)) == 0


def test_resets_that_are_missing_are_counted_also_where_others_leave_no_sign():
    assert kept(lambda *_: None) == 39
    assert kept(lambda model, step: without_a_sign(model) if step % 4 == 0 else None) == 29


def test_updates_by_hand_may_reset_through_data_for_ever():
    with watch() as run:
        weight = torch.randn(4, 1, requires_grad=True)
        for _ in range(60):
            x = torch.randn(16, 4)
            (x @ weight - x.sum(1, keepdim=True)).square().mean().backward()
            weight.data -= 0.01 * weight.grad.data
            weight.grad.data.zero_()
    assert not run.failures
