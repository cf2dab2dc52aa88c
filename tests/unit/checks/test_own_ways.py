"""Faults in models and losses of one's own making: found where no torch layer or loss shows them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from pytest_dlcheck import diagnose
from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.verdict import Outcome

from .conftest import examination


@pytest.fixture
def verdict_of():
    """Gives one check's verdict on what a factory builds, looking twice where it asks for it."""

    def verdict_of(name, factory):
        return examination(factory, (name,)).judge(name, factory)

    return verdict_of


def _recipe(model, *data, loss, lr=1e-2, **more):
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=lr)
    train = DataLoader(TensorDataset(*data), 32, shuffle=True)
    return Recipe(model=model, train_data=train, loss=loss, **{"optimizer": optimizer, **more})


def _digits():
    torch.manual_seed(1)
    x = torch.randn(256, 12)
    return x, (x @ torch.randn(12, 4)).argmax(1)


# -- clipping ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bound", "rate", "word"), [(1e-3, 1e-2, "max_grad_norm"), (1.0, 1e-6, "learning")]
)
def test_what_keeps_steps_small_is_blamed(verdict_of, bound, rate, word):
    def clipped():
        model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 4))
        sgd = torch.optim.SGD(model.parameters(), lr=rate)
        return _recipe(model, *_digits(), loss=nn.CrossEntropyLoss(), optimizer=sgd, max_grad_norm=bound)

    verdict = verdict_of("parameters_update", clipped)
    assert verdict.failed
    assert word in verdict.cause


# -- weights tied by their memory -----------------------------------------------------------------


class Tied(nn.Module):
    def __init__(self, *, by_memory):
        super().__init__()
        self.table, self.head = nn.Embedding(12, 8), nn.Linear(8, 12, bias=False)
        weight = self.table.weight
        self.head.weight = nn.Parameter(weight.data) if by_memory else weight

    def forward(self, ids):
        return self.head(self.table(ids))


@pytest.mark.parametrize("by_memory", [True, False])
@pytest.mark.parametrize("rebuild", [True, False])
def test_weights_tied_by_memory_alone_are_told(by_memory, rebuild):
    def tied():
        ids = torch.arange(12).repeat(20)
        return _recipe(Tied(by_memory=by_memory), ids, ids.flip(0), loss=nn.CrossEntropyLoss())

    report = diagnose(tied if rebuild else tied(), steps=20, device="cpu")
    found = next(v for v in report.diagnosis.verdicts if v.check == "optimizer_covers_model")
    assert found.failed == by_memory


# -- masks, and what a decoder is given ------------------------------------------------------------


class Pool(nn.Module):
    def __init__(self, *, inverted):
        super().__init__()
        self.inverted = inverted
        self.table, self.key, self.out = (
            nn.Embedding(20, 8, padding_idx=0),
            nn.Linear(8, 1),
            nn.Linear(8, 1),
        )

    def forward(self, ids, real):
        x = self.table(ids)
        scores = self.key(x)[..., 0].masked_fill(real if self.inverted else ~real, -1e9)
        return self.out((scores.softmax(1)[..., None] * x).sum(1))[:, 0]


@pytest.mark.parametrize("inverted", [True, False])
def test_a_mask_of_pooled_sequences_is_told_where_it_is_inverted(verdict_of, inverted):
    def pool():
        ids = torch.randint(1, 20, (256, 9))
        real = torch.arange(9) < torch.randint(3, 10, (256, 1))
        ids = ids * real
        goal = (ids % 3 == 0).float().sum(1)
        forward = {"forward": lambda m, b: m(b[0], b[1]), "targets": lambda b: b[2]}
        return _recipe(Pool(inverted=inverted), ids, real, goal, loss=nn.MSELoss(), **forward)

    assert verdict_of("uses_its_inputs", pool).failed == inverted


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.rnn, self.out = (
            nn.Embedding(11, 16),
            nn.GRU(16, 16, batch_first=True),
            nn.Linear(16, 10),
        )

    def forward(self, given):
        return self.out(self.rnn(self.table(given))[0])


def _per_token(logits, y):
    return -logits.log_softmax(-1).gather(-1, y[..., None]).mean()


@pytest.mark.parametrize("shifted", [True, False])
def test_a_decoder_that_is_given_its_target_is_told(verdict_of, shifted):
    def decoder():
        said = torch.cat([torch.full((128, 1), 10), torch.randint(0, 10, (128, 8))], 1)
        forward = {
            "forward": lambda m, b: m(b[0][:, :-1] if shifted else b[0][:, 1:]),
            "targets": lambda b: b[0][:, 1:],
        }
        return _recipe(Decoder(), said, loss=_per_token, **forward)

    verdict = verdict_of("causality", decoder)
    assert verdict.outcome is (Outcome.PASSED if shifted else Outcome.FAILED)
    assert shifted or "is to predict" in verdict.cause


# -- losses that are written out --------------------------------------------------------------------


def _squares(outputs, targets):
    return ((outputs - targets) ** 2).mean()


def _cross_entropy(logits, y):
    return (logits.logsumexp(1) - logits.gather(1, y[:, None])[:, 0]).mean()


@pytest.mark.parametrize("large", [True, False])
@pytest.mark.parametrize("kind", ["squares", "classes", "probabilities"])
def test_the_start_of_a_written_out_loss_is_judged(verdict_of, kind, large):
    def start():
        x, y = _digits()
        model = nn.Sequential(nn.Linear(12, 4))
        nn.init.normal_(model[0].weight, std=30.0 if large else 0.1)
        if kind == "squares":
            return _recipe(model, x, x[:, :4], loss=_squares)
        if kind == "probabilities":
            model.append(nn.LogSoftmax(1))
            return _recipe(model, x, y, loss=lambda out, y: -out.gather(1, y[:, None]).mean())
        return _recipe(model, x, y, loss=_cross_entropy)

    verdict = verdict_of("starts_uninformed", start)
    if kind == "probabilities":  # zeros are none, so that what is known of chance is not asked
        assert verdict.outcome is Outcome.NOT_APPLICABLE
    else:
        assert verdict.failed == large


class Twins(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 16))

    def forward(self, x):
        return F.normalize(self.net(x), dim=1)


@pytest.mark.parametrize("divides", [True, False])
def test_cosines_times_a_temperature_are_told(verdict_of, divides):
    def step(model, batch):
        z = torch.cat([model(batch[0]), model(batch[0] + 0.1 * torch.randn_like(batch[0]))])
        scores = z @ z.T / 0.1 if divides else z @ z.T * 0.1
        scores = scores.masked_fill(torch.eye(len(z), dtype=torch.bool), -1e9)
        return _cross_entropy(scores, torch.arange(len(z)).roll(len(z) // 2))

    def twins():
        return _recipe(Twins(), _digits()[0], loss=None, training_step=step, batch_dim=None)

    assert any("temperature" in line for line in verdict_of("loss_is_sound", twins).advice) != divides
    verdict = verdict_of("overfits_a_batch", twins)
    assert verdict.failed != divides
    assert divides or "temperature" in verdict.cause


# -- gradients that do not come back -----------------------------------------------------------------


class Turns(nn.Module):
    """Blocks of two kinds, registered kind by kind, and called in turns."""

    def __init__(self, scale):
        super().__init__()
        self.scale = scale
        self.one, self.two = (nn.ModuleList(nn.Linear(12, 12) for _ in range(8)) for _ in range(2))
        self.out = nn.Linear(12, 4)

    def forward(self, x):
        for one, two in zip(self.one, self.two, strict=True):
            x = x * self.scale + (x * (1 - self.scale)).detach()
            x = x + 0.3 * one(x).tanh()
            x = x + 0.3 * two(x).tanh()
        return self.out(x)


@pytest.mark.parametrize("scale", [0.05, 1.0])
def test_gradients_that_shrink_at_every_block_are_told(verdict_of, scale):
    def turns():
        return _recipe(Turns(scale), *_digits(), loss=nn.CrossEntropyLoss())

    assert verdict_of("gradients_flow", turns).failed == (scale < 1)


class Steps(nn.Module):
    def __init__(self, every):
        super().__init__()
        self.every = every
        self.table, self.cell, self.out = nn.Embedding(9, 8), nn.GRUCell(8, 16), nn.Linear(16, 4)

    def forward(self, ids):
        x, h = self.table(ids), torch.zeros(len(ids), 16)
        for t in range(ids.size(1)):
            h = h.to(x.dtype)
            h = self.cell(x[:, t], h.detach() if self.every and t % self.every == 0 else h)
        return self.out(h)


@pytest.mark.parametrize(("every", "told"), [(1, True), (4, False), (0, False)])
def test_a_state_that_is_cut_at_every_step_is_told(verdict_of, every, told):
    def steps():
        ids = torch.randint(0, 9, (128, 10))
        return _recipe(Steps(every), ids, ids[:, 0] % 4, loss=nn.CrossEntropyLoss())

    advice = verdict_of("uses_its_inputs", steps).advice
    assert any("through time" in line for line in advice) == told


class Readers(nn.Module):
    def __init__(self, kind):
        super().__init__()
        start = 0.3 * torch.randn(80, 16)
        if kind == "trained":
            start = start * torch.linspace(3, 0.2, 16)
        self.readers = nn.Embedding.from_pretrained(start, freeze=kind != "thawed")
        self.books = nn.Embedding(60, 16)
        self.target = (
            nn.Embedding.from_pretrained(self.books.weight.data.clone()) if kind == "copy" else None
        )
        self.net = nn.Linear(16, 4)
        if kind == "copy":
            self.readers.weight.requires_grad_()
        if kind == "adapter":
            self.books.requires_grad_(requires_grad=False)
            self.net.bias.requires_grad_(requires_grad=False)

    def forward(self, ids):
        return self.net(self.readers(ids) * self.books(ids % 60))


@pytest.mark.parametrize(
    ("kind", "told"),
    [("frozen", True), ("thawed", False), ("trained", False), ("copy", False), ("adapter", False)],
)
def test_a_frozen_table_of_random_numbers_is_told(verdict_of, kind, told):
    def readers():
        ids = torch.randint(0, 80, (256,))
        return _recipe(Readers(kind), ids, ids % 4, loss=nn.CrossEntropyLoss())

    verdict = verdict_of("optimizer_covers_model", readers)
    assert not verdict.failed
    assert any("from_pretrained" in line for line in verdict.advice) == told


def test_embeddings_that_their_loss_normalises_are_no_scores(verdict_of):
    def supervised(z, y):
        z = F.normalize(z)
        others = ~torch.eye(len(y), dtype=torch.bool)
        logits = (z @ z.T / 0.05)[others].view(len(y), -1)
        alike = (y[:, None] == y)[others].view(len(y), -1)
        return -(alike * logits.log_softmax(1)).sum(1).div(alike.sum(1).clamp(min=1)).mean()

    def wide():
        model = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 8))
        with torch.no_grad():
            model[2].weight.mul_(200)
        return _recipe(model, *_digits(), loss=supervised)

    assert not verdict_of("starts_uninformed", wide).failed


@pytest.mark.parametrize("rate", [1e-8, 1.0])
def test_clipping_is_not_blamed_where_the_steps_do_not_grow_with_gradients(verdict_of, rate):
    def clipped():
        model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 4))
        x, y = _digits()
        adam = torch.optim.AdamW(model.parameters(), lr=rate)
        loss = nn.CrossEntropyLoss(reduction="sum")
        return _recipe(model, x, y, loss=loss, optimizer=adam, max_grad_norm=0.01)

    for name in ("parameters_update", "overfits_a_batch"):
        assert "max_grad_norm" not in verdict_of(name, clipped).cause


def test_what_modules_share_is_shared_after_a_diagnosis():
    class Adds(nn.Module):
        def __init__(self, table):
            super().__init__()
            self.register_buffer("table", table)

        def forward(self, x):
            return x + self.table

    table = torch.linspace(0, 1, 12)
    model = nn.Sequential(Adds(table), nn.Linear(12, 12), Adds(table), nn.Linear(12, 4))
    diagnose(_recipe(model, *_digits(), loss=nn.CrossEntropyLoss()))
    assert model[0].table is model[2].table is table
    assert table.dtype == torch.float32
