"""Probes hold the right numbers: held against ones computed by hand, also for unusual parameters."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.run.probes.batches import BatchProbe, copy_of, fingerprint
from pytest_dlcheck.run.probes.updates import WHOLE
from pytest_dlcheck.run.tensors.sampled import sample_of
from pytest_dlcheck.run.trial_runner import Request, run_trial
from pytest_dlcheck.trial import Terms

ALL = frozenset(
    {
        "activation_rms",
        "activation_zero_share",
        "buffers",
        "fixed_loss",
        "frozen_patterns",
        "gradient_norm",
        "learning_rate",
        "modules",
        "parameter_norm",
        "parameters",
        "rounding",
        "update_norm",
    }
)


def trained(factory, steps=2):
    trace = run_trial(factory, Request(Terms(steps=steps).train()[0], ALL))
    assert trace.ending.kind == "completed", trace.ending
    return trace


def regression(model, *, inputs=None, optimizer=None, loss=F.mse_loss, **more):
    inputs = torch.ones(4, 3) if inputs is None else inputs
    return Recipe(
        model=model,
        train_data=[(inputs, torch.zeros(len(inputs), 2))],
        loss=loss,
        optimizer=optimizer or torch.optim.SGD(model.parameters(), lr=0.5),
        **more,
    )


def ones(module):
    for parameter in module.parameters():
        nn.init.ones_(parameter)
    return module


def total(outputs, _):
    return outputs.sum()


def test_norms_of_gradient_update_and_weight():
    trace = trained(lambda: regression(ones(nn.Linear(3, 2)), loss=total))

    # d sum / d weight = 4 samples of ones: each of 6 elements is 4; each of 2 biases is 4.
    assert trace["gradient_norm"].column("weight") == pytest.approx([4 * 6**0.5] * 2)
    assert trace["gradient_norm"].column("bias") == pytest.approx([4 * 2**0.5] * 2)
    assert trace["update_norm"].column("weight") == pytest.approx([2 * 6**0.5] * 2)
    # One step of 0.5 x 4 takes every element from 1 to -1.
    assert trace["parameter_norm"].column("weight") == pytest.approx([6**0.5] * 2)


def test_a_gradient_is_measured_before_it_is_clipped():
    trace = trained(lambda: regression(ones(nn.Linear(3, 2)), loss=total, max_grad_norm=1.0))

    norms = [trace["gradient_norm"].column(name)[0] for name in ("weight", "bias")]
    updates = [trace["update_norm"].column(name)[0] for name in ("weight", "bias")]
    assert norms == pytest.approx([4 * 6**0.5, 4 * 2**0.5])
    assert sum(u**2 for u in updates) ** 0.5 == pytest.approx(0.5, rel=1e-4)


def test_micro_batches_add_up_to_one_gradient():
    trace = trained(lambda: regression(ones(nn.Linear(3, 2)), loss=total, accumulate=2))

    assert trace["gradient_norm"].column("weight") == pytest.approx([4 * 6**0.5] * 2)


def test_no_gradient_is_none_and_never_zero():
    class Partial(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(3, 2), nn.Linear(3, 2)
            self.times_zero = nn.Parameter(torch.ones(2))

        def forward(self, x):
            return self.used(x) + 0 * self.times_zero

    trace = trained(lambda: regression(Partial()))

    assert trace["gradient_norm"].column("unused.weight") == (None, None)
    assert trace["gradient_norm"].column("times_zero") == (0.0, 0.0)


def test_a_sparse_gradient_counts_repeated_rows_once_summed():
    bag = nn.EmbeddingBag(5, 2, mode="sum", sparse=True)
    rows = torch.tensor([[0, 1], [0, 2]])

    trace = trained(lambda: regression(ones(bag), inputs=rows, loss=total), steps=1)

    # Row 0 is used twice (gradient 2), rows 1 and 2 once (gradient 1), each of width 2.
    assert trace["gradient_norm"].column("weight") == pytest.approx([(2 * (4 + 1 + 1)) ** 0.5])


def test_a_complex_parameter():
    class Phase(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.full((2,), 3 + 4j))

        def forward(self, x):
            return x[:, :2] * self.weight.real + 0 * self.weight.imag

    trace = trained(lambda: regression(Phase(), loss=total), steps=1)

    assert trace["parameter_norm"].column("weight") == pytest.approx([50**0.5])
    assert trace["gradient_norm"].column("weight") == pytest.approx([4 * 2**0.5])
    assert trace["update_norm"].column("weight") == pytest.approx([2 * 2**0.5])


def test_tied_weights_are_one_parameter_with_both_gradients():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
            self.two.weight = self.one.weight
            nn.init.eye_(self.one.weight)

        def forward(self, x):
            return self.two(self.one(x))

    inputs = torch.ones(1, 2)
    trace = trained(lambda: regression(Tied(), inputs=inputs, loss=total), steps=1)

    assert [row.text("name") for row in trace.rows("parameters")] == ["one.weight"]
    # Each use contributes a gradient of ones.
    assert trace["gradient_norm"].column("one.weight") == pytest.approx([4.0])


def test_channels_last_weights_are_sampled_where_they_lie():
    def build():
        model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(8, 2))
        model = ones(model).to(memory_format=torch.channels_last)
        return regression(model, inputs=torch.ones(4, 3, 4, 4), loss=total)

    trace = trained(build, steps=1)

    # A kernel element meets 4 samples x 4 positions x 2 outputs of weight 1: 32; the rate is 0.5.
    assert trace["gradient_norm"].column("0.weight") == pytest.approx([32 * 54**0.5])
    assert trace["update_norm"].column("0.weight") == pytest.approx([16 * 54**0.5])


@pytest.mark.parametrize("shape", [(7,), (64, 64), (1, 5000), (512, 3, 3, 3), (1000, 1024)])
def test_a_sample_scaled_up_estimates_the_norm(shape):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))

    sample = sample_of(weight)
    estimate = sample.norm() * (weight.numel() / sample.numel()) ** 0.5

    assert sample.numel() <= 2 * 1024
    assert estimate.item() == pytest.approx(weight.norm().item(), rel=0.1)


def test_a_sample_does_not_keep_to_a_few_columns():
    weight = torch.zeros(1024, 1024)
    weight[:, 7] = 1.0

    assert sample_of(torch.arange(1024).repeat(1024, 1)).unique().numel() > 100
    assert sample_of(weight).any()


@pytest.mark.parametrize("inputs", [1500, WHOLE, 3 * WHOLE])
def test_norms_are_those_of_a_sample_whether_all_was_copied_or_not(inputs):
    torch.manual_seed(0)
    model = nn.Linear(inputs, 2)
    before = [p.detach().clone() for p in (model.weight, model.bias)]

    trace = trained(lambda: regression(model, inputs=torch.randn(4, inputs)), steps=1)

    for name, old, new in zip(("weight", "bias"), before, (model.weight, model.bias), strict=True):
        scale = (old.numel() / sample_of(old).numel()) ** 0.5
        moved = (sample_of(new) - sample_of(old)).norm().item() * scale
        assert trace["parameter_norm"].column(name)[0] == pytest.approx(sample_of(old).norm() * scale)
        assert trace["update_norm"].column(name)[0] == pytest.approx(moved)


def test_batches_of_several_sizes_and_kinds_keep_the_order_of_their_steps():
    batches = [torch.randn(64, 32), torch.randn(9, 3), torch.arange(2000), torch.randn(64, 32)]
    probe = BatchProbe()

    for step, batch in enumerate(batches):
        probe.copied(step, copy_of(batch))
    found = probe.filled()["batch_fingerprint"]

    assert found.steps == (0, 1, 2, 3)
    assert found.values == tuple(fingerprint(batch).item() for batch in batches)


def test_activations_of_modules_without_children():
    model = nn.Sequential(nn.Identity(), nn.ReLU(), nn.Linear(4, 2))
    inputs = torch.tensor([[-3.0, -3.0, 3.0, 3.0]]).repeat(2, 1)

    trace = trained(lambda: regression(model, inputs=inputs), steps=1)

    assert trace["activation_rms"].column("0") == pytest.approx([3.0])
    assert trace["activation_rms"].column("1") == pytest.approx([4.5**0.5])
    assert trace["activation_zero_share"].column("1") == pytest.approx([0.5])


def test_the_learning_rate_is_the_one_that_the_step_used():
    def build():
        model = nn.Linear(3, 2)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
        return regression(model, optimizer=optimizer, scheduler=scheduler)

    assert trained(build, steps=3)["learning_rate"].values == pytest.approx([1.0, 0.5, 1 / 3])


def test_the_fixed_loss_is_that_of_the_same_batches_before_and_after():
    def build():
        model = ones(nn.Linear(3, 2))
        return regression(model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1))

    trace = trained(build, steps=1)

    # Outputs are 3 + 1 = 4, the loss 16. Each weight and bias falls by 0.1 x 2 x 4 / 2 = 0.4, so
    # that outputs become 4 - 4 x 0.4 = 2.4, and the loss 5.76.
    before, after = trace["fixed_loss"].values
    assert before == pytest.approx([16.0] * len(before))
    assert after == pytest.approx([5.76] * len(after))


def test_what_changed_is_told_bit_by_bit():
    def build():
        model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
        model[0].requires_grad_(requires_grad=False)
        nn.init.zeros_(model[2].bias)
        return regression(model, inputs=torch.randn(8, 3), frozen=("0.*", "nobody"))

    trace = trained(build)
    parameters = {row.text("name"): row for row in trace.rows("parameters")}
    buffers = {row.text("name"): row for row in trace.rows("buffers")}
    patterns = {row.text("pattern"): row for row in trace.rows("frozen_patterns")}

    assert {name: row["changed"] for name, row in parameters.items()} == {
        "0.weight": False,
        "0.bias": False,
        "1.weight": True,
        "1.bias": True,
        "2.weight": True,
        "2.bias": True,
    }
    assert parameters["0.weight"].flag("declared_frozen")
    assert not parameters["0.weight"].flag("requires_grad")
    assert parameters["2.bias"].flag("zero_at_start")
    assert buffers["1.running_mean"].flag("changed")
    assert patterns["0.*"].integer("parameters") == 2
    assert patterns["nobody"].integer("parameters") == 0


def test_rounding_counts_elements_that_stand_still_though_they_are_driven():
    def build():
        model = nn.Linear(4, 2, bias=False).bfloat16()
        with torch.no_grad():
            # Beside 256 a step of 0.5 is lost in bfloat16 (8 bits of mantissa); beside 0.25 it is not.
            model.weight.copy_(torch.tensor([[256.0, 256.0, 256.0, 0.25]] * 2))
        inputs = torch.tensor([[1.0, 1.0, 0.0, 1.0]]).bfloat16()
        return regression(model, inputs=inputs, loss=total)

    (row,) = trained(build).rows("rounding")

    # Of 4 columns one has no gradient; of the other three, two stand still.
    assert row.number("still_share") == pytest.approx(2 / 3)


def test_a_fingerprint_does_not_hang_on_where_in_memory_a_batch_begins():
    batch, room = torch.randn(130), torch.empty(200)
    found = set()
    for begin in range(32):
        room[begin : begin + 130] = batch
        found.add(float(fingerprint(room[begin : begin + 130])))
    assert len(found) == 1


def test_copies_that_are_weighed_together_have_the_fingerprint_of_the_batch():
    probe, batch = BatchProbe(), torch.randn(10, 13)
    for step in range(8):
        probe.copied(step, batch.clone())
    assert set(probe.filled()["batch_fingerprint"].values) == {float(fingerprint(batch))}
