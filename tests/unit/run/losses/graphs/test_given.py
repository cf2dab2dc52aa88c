"""What torch's losses are given, as the graph of a loss shows it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from pytest_dlcheck.checks.loss_is_sound import LossIsSound
from pytest_dlcheck.faults.losses.loss import of_call
from pytest_dlcheck.run.losses.graphs.given import Given, what_is_given
from pytest_dlcheck.run.losses.graphs.near import Near
from pytest_dlcheck.run.losses.graphs.packing import noticing
from pytest_dlcheck.trace import Row

CLASSES = 5
Compare = Callable[[Tensor, Tensor], Tensor]


def _scores(*shape: int) -> Tensor:
    torch.manual_seed(0)
    return nn.Linear(8, CLASSES)(3 * torch.randn(*shape, 8))


def _labels(*shape: int) -> Tensor:
    return torch.randint(0, CLASSES, shape)


def _rows(loss: Tensor) -> list[Row]:
    return what_is_given(Near.of_loss(loss.grad_fn))


def _causes(loss: Tensor) -> list[str]:
    check = LossIsSound()
    rows = _rows(loss)
    return [f.cause for row in rows for f in of_call(row, check.normalised, check.log_normalised)]


@pytest.mark.parametrize(
    "compare",
    [
        pytest.param(F.cross_entropy, id="logits"),
        pytest.param(lambda x, y: F.cross_entropy(x, y, label_smoothing=0.1), id="smoothed labels"),
        pytest.param(lambda x, y: F.cross_entropy(x, y, ignore_index=2) / 4, id="accumulated"),
        pytest.param(lambda x, y: F.nll_loss(F.log_softmax(x, 1), y), id="log-probabilities"),
        pytest.param(lambda x, y: F.nll_loss(x.softmax(-1).add(1e-3).log(), y), id="log(p + eps)"),
        pytest.param(lambda x, y: F.cross_entropy(x.log_softmax(-1), y), id="log_softmax twice"),
        pytest.param(lambda x, y: F.cross_entropy(9 * F.normalize(x, dim=1), y), id="cosines"),
        pytest.param(lambda x, y: F.cross_entropy(x.softmax(1) / 0.1, y), id="sharpened votes"),
        pytest.param(lambda x, y: F.nll_loss(-torch.cdist(x, x[:CLASSES]), y), id="prototypes"),
        pytest.param(
            lambda x, y: (F.nll_loss(x.log_softmax(1), y, reduction="none") * torch.rand(len(y))).mean(),
            id="weighted samples",
        ),
        pytest.param(
            lambda x, y: F.nll_loss(x.log_softmax(1) * torch.rand(len(y), 1), y),
            id="log-probabilities times returns",
        ),
        pytest.param(
            lambda x, y: F.binary_cross_entropy_with_logits(x[:, 0], (y > 1).float()), id="binary logits"
        ),
        pytest.param(
            lambda x, y: F.binary_cross_entropy(x[:, 0].sigmoid(), (y > 1).float()), id="binary"
        ),
        pytest.param(
            lambda x, y: F.mse_loss(x.softmax(1), F.one_hot(y, CLASSES).float()), id="Brier score"
        ),
    ],
)
def test_what_a_loss_is_made_for_is_no_fault(compare: Compare) -> None:
    assert _causes(compare(_scores(16), _labels(16))) == []


@pytest.mark.parametrize(
    ("compare", "cause"),
    [
        (lambda x, y: F.cross_entropy(x.softmax(1), y), "softmax is applied twice"),
        (lambda x, y: F.cross_entropy(x.softmax(1), y) / 8, "softmax is applied twice"),
        (lambda x, y: F.cross_entropy(x.softmax(0), y), "softmax over axis 0, that of the samples"),
        (lambda x, y: F.cross_entropy(x.sigmoid(), y), "a sigmoid before a loss that applies its own"),
        (lambda x, y: F.nll_loss(x.softmax(1), y), "softmax where log_softmax is meant"),
        (F.nll_loss, "log_softmax is missing"),
        (lambda x, y: F.nll_loss(x.log_softmax(0), y), "softmax over axis 0"),
        (
            lambda x, y: F.binary_cross_entropy_with_logits(x[:, 0].sigmoid(), (y > 1).float()),
            "a sigmoid before a loss that applies its own",
        ),
        (
            lambda x, y: F.binary_cross_entropy(x[:, :1].softmax(1)[:, 0], (y > 1).float()),
            "softmax for one output",
        ),
        (lambda x, y: F.mse_loss(x[:, :1].softmax(-1), y[:, None].float()), "softmax for one output"),
    ],
)
def test_what_it_is_not_made_for_is_named(compare: Compare, cause: str) -> None:
    assert [c.startswith(cause) for c in _causes(compare(_scores(16), _labels(16)))] == [True]


def test_positions_of_a_sequence_are_rows() -> None:
    x, y = _scores(4, 6), _labels(4, 6)
    flat = F.nll_loss(x.log_softmax(-1).view(-1, CLASSES), y.view(-1))
    deep = F.cross_entropy(x.transpose(1, 2), y)
    assert _causes(flat) == _causes(deep) == []
    twice = F.cross_entropy(x.softmax(-1).transpose(1, 2), y)
    assert _causes(twice)[0].startswith("softmax is applied twice")


def test_a_softmax_along_a_sequence_is_told_from_one_that_is_missing() -> None:
    x, y = _scores(4, 6), _labels(4, 6)
    along = F.nll_loss(x.log_softmax(1).reshape(-1, CLASSES), y.view(-1))
    assert _causes(along)[0].startswith("log_softmax over another axis than that of the classes")


def test_rows_of_padding_may_hold_anything() -> None:
    x, y = _scores(16).log_softmax(1), _labels(16)
    y[8:] = -1
    padded = F.pad(x[:8], (0, 0, 0, 8)) + 0
    assert _causes(F.nll_loss(padded, y, ignore_index=-1)) == []
    assert _causes(F.nll_loss(padded, y.clamp(min=0))) != []


def test_a_graph_that_is_gone_tells_nothing() -> None:
    loss = F.nll_loss(_scores(16).softmax(1), _labels(16))
    assert _rows(loss)
    loss.backward()
    assert _rows(loss) == []


def test_what_is_found_now_and_then_is_no_part_of_the_training() -> None:
    found = Given()
    odd = _rows(F.nll_loss(_scores(16).softmax(1), _labels(16)))
    usual = _rows(F.cross_entropy(_scores(16), _labels(16)))
    for i in range(12):
        found.add(odd if i % 6 == 0 else usual)
    assert [row.text("kind") for row in found.rows()] == ["cross_entropy"]


@pytest.mark.parametrize("losses", [F.cross_entropy, lambda x, y: F.nll_loss(x.softmax(1), y)])
def test_what_was_packed_is_not_unpacked(losses: Compare) -> None:
    calls: list[int] = []

    def forward(x: Tensor, y: Tensor) -> Tensor:
        calls.append(len(x))
        return losses(x * 2, y)

    with noticing():
        loss = checkpoint(forward, _scores(16), _labels(16), use_reentrant=False)
        assert _rows(loss) == []
        assert calls == [16]
        loss.backward()
    assert calls == [16, 16]


def test_what_no_module_is_known_to_give_is_told_by_the_loss() -> None:
    check = LossIsSound()
    twice, over = (
        next(of_call(_rows(loss)[0], check.normalised, check.log_normalised)).finding
        for loss in (
            F.cross_entropy(_scores(16).softmax(1), _labels(16)),
            F.nll_loss(_scores(16).log_softmax(0), _labels(16)),
        )
    )
    assert twice == "cross_entropy is given probabilities, and wants logits"
    assert over.startswith("what nll_loss is given is normalised over the batch")
