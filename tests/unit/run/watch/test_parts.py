"""The parts that a watch is made of, by themselves."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from pytest_dlcheck import watch
from pytest_dlcheck.run.probes.batches import BatchProbe, copy_of
from pytest_dlcheck.run.watch.batches import prints
from pytest_dlcheck.run.watch.batches.exposure import Exposure
from pytest_dlcheck.run.watch.batches.loading import Loading
from pytest_dlcheck.run.watch.batches.prints import Prints, row_prints
from pytest_dlcheck.run.watch.batches.seen import seen_of
from pytest_dlcheck.run.watch.guard import Guard
from pytest_dlcheck.run.watch.losses.targets import Targets
from pytest_dlcheck.run.watch.losses.unpropagated import Unpropagated
from pytest_dlcheck.run.watch.models.answers import Answers
from pytest_dlcheck.run.watch.steps.by_hand import ByHand
from pytest_dlcheck.run.watch.steps.leaves import Leaves


def read(loader, loading):
    iterator = iter(loader)
    next(iterator)
    loading.read(iterator)
    return iterator


def test_equal_samples_share_a_print_in_any_batch():
    rows = torch.rand(10, 3, 4)
    assert prints.rounded(row_prints(rows))[3:5] == prints.rounded(row_prints(rows[3:5]))
    assert len(set(prints.rounded(row_prints(rows)))) == 10


def test_prints_of_many_batches_are_those_of_each_as_it_was():
    batches = [torch.rand(10, 3), torch.rand(4, 3), torch.rand(2, 100), torch.arange(6).reshape(3, 2)]
    alone = [prints.rounded(row_prints(batch)) for batch in batches]
    together = [Prints.of(batch) for batch in batches]
    for batch in batches:
        batch.zero_()
    prints.weigh(together[:2])
    prints.read(together[1:])
    assert [each.numbers for each in together] == alone


def test_a_batch_that_is_copied_to_be_weighed_later_has_the_fingerprint_that_it_had():
    small, large = torch.rand(64, 32), torch.rand(64, 128)
    probe, alone = BatchProbe(), BatchProbe()
    for step, batch in enumerate([small, large, small.t(), small]):
        alone.batch(step, batch)
        copy = copy_of((batch, large))
        assert (copy is None) is (batch is not small)
        probe.batch(step, batch) if copy is None else probe.copied(step, copy)
    small.zero_()
    assert probe.filled() == alone.filled()


def test_a_copy_is_seen_as_what_it_is_a_copy_of():
    batch, many = torch.rand(16, 5), torch.rand(4, 100)
    for given in (batch, many):
        told = {"training": True, "era": 0, "earlier": 0}
        seen, by_copy = (seen_of((given,), 1, 0, **told, copy=copy) for copy in (None, given.clone()))
        assert seen.values() == by_copy.values()
        assert torch.equal(seen.measured, by_copy.measured)


@pytest.mark.parametrize(
    "batch", [torch.tensor(1.0), torch.empty(0, 3), torch.ones(2, dtype=torch.cfloat)]
)
def test_what_has_no_samples_has_no_prints(batch):
    assert row_prints(batch) is None
    assert Prints.of(batch) is None


def test_samples_evaluated_after_they_were_trained_on_are_counted():
    exposure, loading, rows = Exposure(), Loading(), torch.rand(64, 5)
    for step in range(4):
        exposure.is_called_to_train(step, (rows[16 * step : 16 * step + 16],), loading, training=True)
        exposure.is_propagated()
        exposure.is_stepped(training=True)
    for i in range(2):
        exposure.is_evaluated(4, (rows[32 + 16 * i : 48 + 16 * i],), None, event=1, backwards=4)
    row = exposure.row()
    assert (row["trained"], row["evaluated"], row["evaluated_after_training"]) == (64, 32, 32)
    assert row["trained_and_evaluated"] == 32


def test_an_evaluation_within_each_step_is_none():
    exposure, loading, rows = Exposure(), Loading(), torch.rand(16, 5)
    for step in range(6):
        exposure.is_evaluated(step, (rows,), None, event=step, backwards=step)
        exposure.is_called_to_train(step, (rows,), loading, training=True)
        exposure.is_propagated()
        exposure.is_stepped(training=True)
    assert exposure.row()["evaluated"] == 0


def test_a_loader_tells_what_it_leaves_out_and_in_which_order():
    data, loading = TensorDataset(torch.rand(50, 2)), Loading()
    kept = read(DataLoader(data, 16, shuffle=True, drop_last=True), loading)
    assert (loading.left_out, loading.is_shuffled, loading.length) == (2, True, 3)
    also = read(DataLoader(data, 16), loading)
    assert (loading.left_out, loading.is_shuffled, loading.passes) == (0, False, 2)
    del kept, also


def test_calls_that_no_backward_follows_are_told_from_the_usual_ones():
    calls = Unpropagated()
    for _ in range(5):
        calls.called(0, 0, in_train_mode=True, in_eval_mode=False)
        calls.backward_begins()
    for _ in range(4):
        calls.called(0, 5, in_train_mode=False, in_eval_mode=True)
    (window,) = calls.windows()
    assert (window.calls, window.in_eval_mode) == (4, 4)


def test_batches_of_one_loss_are_told_by_value():
    targets, model = Targets(Guard(), Answers(Guard())), nn.Linear(4, 3)
    batches = [(torch.rand(8, 4), torch.randint(3, (8,))) for _ in range(3)]
    found = []
    for i, (x, _) in enumerate(batches):
        targets.batch_is_read(batches[i])
        targets.is_called(model, (x,))
        found.append(targets.look([F.cross_entropy(model(x), batches[max(0, i - 1)][1].clone())]))
    assert [f.aligned for f in found] == [None, False, False]
    assert found[2].age == 1


@pytest.mark.parametrize("shape", [(8,), (8, 1)])
@pytest.mark.parametrize("loss", [F.mse_loss, F.smooth_l1_loss, lambda a, b: ((a - b) ** 2).mean()])
def test_broadcast_outputs_are_told(loss, shape):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = loss(nn.Linear(4, 1)(torch.rand(8, 4)), torch.rand(shape))
    assert bool(Targets(Guard(), Answers(Guard())).look([value]).told["crossed"]) == (shape == (8,))


@pytest.mark.parametrize(
    ("scaled", "said"),
    [
        (lambda loss: loss, True),
        (lambda loss: loss / 4, False),
        (lambda loss: loss * 0.25, False),
        (lambda loss: loss / 1, True),
        (lambda loss: 1.0 * loss, True),
        (lambda loss: torch.tensor(1.0) * loss, True),
        (lambda loss: loss / 1 / 4, False),
        (lambda loss: loss * loss, False),
    ],
)
def test_a_mean_that_nothing_divides_is_told(scaled, said):
    value = F.cross_entropy(nn.Linear(4, 3)(torch.rand(8, 4)), torch.randint(3, (8,)))
    assert Targets(Guard(), Answers(Guard())).look([scaled(value)]).undivided is said


def test_a_batch_viewed_across_its_axes_is_told():
    targets, batch = Targets(Guard(), Answers(Guard())), torch.rand(4, 1, 8, 8)
    for rows, said in ((32, True), (64, False)):
        targets.batch_is_read([batch])
        called = batch.view(-1, rows)
        targets.is_called(nn.Linear(1, 1), (called,))
        compared = targets.look([F.mse_loss(nn.Linear(rows, rows)(called), called)])
        assert bool(compared.told["cut"]) is said


@pytest.mark.parametrize("reset", [True, False])
def test_gradients_kept_after_an_update_by_hand_are_counted(reset):
    weight, by_hand = torch.ones(3, requires_grad=True), ByHand(Leaves())
    for _ in range(5):
        loss = (weight * weight).sum()
        by_hand.backward_begins([loss])
        loss.backward()
        by_hand.backward_ends()
        with torch.no_grad():
            weight -= 0.1 * weight.grad
        if reset:
            weight.grad = None
    by_hand.close()
    assert by_hand.row()["hand_updates"] == 4
    assert by_hand.row()["hand_kept"] == (0 if reset else 4)


@pytest.mark.parametrize("scale", [0.0, 1.0])
@pytest.mark.parametrize("early", [True, False])
def test_clippings_that_find_no_gradient_yet_are_counted(*, early, scale):
    weight, by_hand = torch.ones(3, requires_grad=True), ByHand(Leaves())

    def clip():
        by_hand.clipped([weight], nn.utils.clip_grad_norm_(weight, 1.0))

    for _ in range(5):
        weight.grad = None
        if early:
            clip()
        loss = scale * (weight * weight).sum()
        by_hand.backward_begins([loss])
        loss.backward()
        by_hand.backward_ends()
        if not early:
            clip()
    by_hand.close()
    assert by_hand.row()["hand_clips"] == 5
    assert by_hand.row()["hand_clips_of_none"] == (5 if early and scale else 0)


def test_weights_that_are_computed_when_asked_for_are_not_asked_for():
    def train():
        torch.manual_seed(0)
        cell = nn.utils.parametrizations.spectral_norm(nn.GRUCell(8, 8), "weight_ih")
        model = nn.ModuleList([cell, nn.Linear(8, 1)])
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(5):
            optimizer.zero_grad()
            model[1](model[0](torch.randn(4, 8))).mean().backward()
            optimizer.step()
        return model.state_dict()

    alone = train()
    with watch():
        watched = train()
    assert all(torch.equal(alone[name], watched[name]) for name in alone)


@pytest.mark.parametrize("swapped", [False, True])
def test_arguments_in_the_other_order_are_no_moving_targets(swapped):
    outputs, targets = nn.Linear(4, 1)(torch.rand(8, 4)), torch.rand(8, 1)
    loss = F.smooth_l1_loss(targets, outputs) if swapped else F.mse_loss(outputs, outputs * 2)
    assert Targets(Guard(), Answers(Guard())).look([loss]).moving is not swapped


@pytest.mark.parametrize("compare", [F.mse_loss, F.smooth_l1_loss])
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_targets_that_were_broadcast_before_are_told(compare):
    outputs, rewards, next_values = nn.Linear(4, 1)(torch.rand(8, 4)), torch.rand(8, 1), torch.rand(8)
    wrong = compare(outputs, rewards + 0.9 * next_values)
    right = compare(outputs, rewards + 0.9 * next_values[:, None])
    look = Targets(Guard(), Answers(Guard())).look
    assert look([wrong]).told["crossed"] == "[8, 1] against [8, 8]"
    assert not look([right]).told["crossed"]
