"""How large the data are where they meet a model's first weights, and how many samples norms mix."""

import pytest
import torch
from torch import nn

from pytest_dlcheck import watch

BYTES = torch.randint(0, 256, (32, 1, 8, 8), generator=torch.Generator().manual_seed(1)).float()


def trace_of(model, inputs, *, batch_size=8):
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    with watch() as run:
        for batch in inputs.split(batch_size):
            optimizer.zero_grad()
            model(batch).pow(2).mean().backward()
            optimizer.step()
    return run.trace


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3)

    def forward(self, x):
        return self.first(x / 255)


def test_bytes_are_told_where_they_meet_the_first_layer():
    (row,) = trace_of(nn.Sequential(nn.Identity(), nn.Conv2d(1, 4, 3), nn.ReLU()), BYTES).rows(
        "data_scale"
    )

    assert (row["site"], row["type"]) == ("1", "Conv2d")
    assert (row["lowest"] >= 0, row["highest"] <= 255, row["whole_numbers"]) == (True, True, True)
    assert row["given"] == pytest.approx(148, rel=0.1)
    assert not row["trained"]


def test_a_model_that_scales_them_itself_gets_them_small():
    (row,) = trace_of(Scaled(), BYTES).rows("data_scale")

    assert row["given"] < 1


@pytest.mark.parametrize(
    ("layers", "flag"),
    [
        ([nn.BatchNorm2d(1), nn.Conv2d(1, 4, 3)], "normalises"),
        ([nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)], "mended"),
    ],
    ids=["before", "after"],
)
def test_a_norm_makes_up_for_them(layers, flag):
    (row,) = trace_of(nn.Sequential(*layers), BYTES).rows("data_scale")

    assert row[flag] is True


def test_of_norms_the_largest_batch_counts():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
    (row,) = trace_of(model, BYTES[:17]).rows("batch_norms")

    assert (row["name"], row["samples"], row["tracks"], row["frozen"]) == ("1", 8, True, False)
    (row,) = trace_of(model, BYTES[:8], batch_size=1).rows("batch_norms")
    assert row["samples"] == 1


def test_norms_in_eval_mode_mix_nothing():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4).eval())

    assert trace_of(model, BYTES).rows("batch_norms") == ()
