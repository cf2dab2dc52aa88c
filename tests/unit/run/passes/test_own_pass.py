"""The first batch passes in eval mode once for all who ask, and its outputs are let go."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pytest_dlcheck import Recipe
from pytest_dlcheck.run.passes.own_pass import own_pass
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.trial_runner import Request, run_trial
from pytest_dlcheck.trial import Terms

BATCH = 6


class Counting(nn.Linear):
    """Counts its calls in eval mode with the whole batch."""

    calls = 0

    def forward(self, x):
        self.calls += not self.training and len(x) == BATCH
        return super().forward(x)


def recipe(loss=nn.functional.cross_entropy):
    model = Counting(3, 2)
    data = [(torch.randn(BATCH, 3), torch.randint(0, 2, (BATCH,)))]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return Recipe(model=model, train_data=data, loss=loss, optimizer=optimizer, shapes="b 3 -> b 2")


def test_two_questions_cost_one_pass():
    made = []
    wanted = frozenset({"finite", "shapes"})
    trace = run_trial(lambda: made.append(recipe()) or made[-1], Request(Terms().inspect(), wanted))
    assert wanted <= trace.facts.keys()
    assert made[0].model.calls == 1


def opened(**more):
    rig = Rig(recipe(**more), "cpu", 0)
    rig.open()
    return rig


def test_of_the_outputs_only_their_form_is_kept():
    found = own_pass(opened())
    outputs = found.passed.outputs
    assert outputs.is_meta
    assert (tuple(outputs.shape), outputs.dtype) == ((BATCH, 2), torch.float32)
    assert found.sizes == {"output": BATCH * 2, "loss": 1}


@pytest.mark.parametrize(
    "loss", [lambda o, _: o.sum() / 0, lambda o, _: o.no_such_thing], ids=["infinite", "raises"]
)
def test_sizes_are_told_only_where_all_is_finite(loss):
    found = own_pass(opened(loss=loss))
    assert found.sizes is None
    assert not found.passed.error
