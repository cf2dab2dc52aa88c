"""A leak between the samples of a batch is found and named; healthy models pass."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck.recipe import Recipe


def classifier(make, *shape, **facts):
    def build():
        inputs, labels = torch.randn(32, *shape), torch.randint(0, 3, (32,))
        return Recipe(model=make(), train_data=(inputs, labels), loss=nn.CrossEntropyLoss(), **facts)

    return build


class Recurrent(nn.Module):
    def __init__(self, *, batch_first):
        super().__init__()
        self.rnn = nn.LSTM(5, 8, batch_first=batch_first)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


class Normalised(nn.Module):
    def __init__(self, *, over):
        super().__init__()
        self.features = nn.Linear(6, 8)
        self.head = nn.Linear(8, 3)
        self.over = over

    def forward(self, x):
        return self.head(F.softmax(self.features(x), dim=self.over))


class Reordered(nn.Module):
    def __init__(self, *, by_view):
        super().__init__()
        self.embed = nn.Linear(5, 8)
        self.head = nn.Linear(7, 3)
        self.by_view = by_view

    def forward(self, x):
        hidden = self.embed(x)
        if self.by_view:
            time_first = hidden.contiguous().view(x.size(1), x.size(0), 8)
            return self.head(time_first.permute(1, 2, 0).mean(1))
        return self.head(hidden.transpose(1, 2).mean(1))


class Positioned(nn.Module):
    def __init__(self, *, along_batch):
        super().__init__()
        self.embed, self.head = nn.Linear(5, 8), nn.Linear(8, 3)
        self.register_buffer("encoding", torch.randn(64, 8))
        self.along_batch = along_batch

    def forward(self, x):
        where = self.encoding[: x.size(0), None] if self.along_batch else self.encoding[: x.size(1)]
        return self.head((self.embed(x) + where).mean(1))


class StuckNorm(nn.Module):
    def __init__(self, *, stuck):
        super().__init__()
        self.norm, self.head, self.stuck = nn.BatchNorm1d(6), nn.Linear(6, 3), stuck

    def forward(self, x):
        if self.stuck:
            self.norm.train()
        return self.head(self.norm(x))


class Centred(nn.Module):
    def __init__(self, *, over):
        super().__init__()
        self.features, self.head, self.over = nn.Linear(6, 8), nn.Linear(8, 3), over
        nn.init.zeros_(self.head.weight)

    def forward(self, x):
        hidden = self.features(x)
        return self.head(hidden - hidden.mean(self.over, keepdim=True))


FAULTS = {
    "batch_first": (lambda bad: Recurrent(batch_first=not bad), (7, 5), "rnn", "batch_first=False"),
    "softmax over dim 0": (lambda bad: Normalised(over=0 if bad else 1), (6,), "", "softmax"),
    "view for transpose": (lambda bad: Reordered(by_view=bad), (7, 5), "", "view"),
    "encoding along batch": (lambda bad: Positioned(along_batch=bad), (7, 5), "", "place in the"),
    "batch norm stuck in train": (lambda bad: StuckNorm(stuck=bad), (6,), "norm", "train mode"),
    "zero-init head hides it": (lambda bad: Centred(over=0 if bad else 1), (6,), "", "mean"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_fault_is_found_and_named(verdict_on, fault):
    make, shape, site, cause = FAULTS[fault]
    verdict = verdict_on(classifier(lambda: make(bad=True), *shape))
    assert verdict.failed
    assert verdict.sites == (site,)
    assert cause in verdict.cause


@pytest.mark.parametrize("fault", FAULTS)
def test_its_healthy_twin_passes(verdict_on, fault):
    make, shape, *_ = FAULTS[fault]
    verdict = verdict_on(classifier(lambda: make(bad=False), *shape))
    assert verdict.outcome == "passed"
    assert not verdict.advice


def test_the_line_of_the_operation_is_named(verdict_on):
    verdict = verdict_on(classifier(lambda: Normalised(over=0), 6))
    assert "test_batch_independence.py:" in verdict.cause


def test_statistics_over_the_batch_by_choice_are_advice(verdict_on):
    def norm_without_statistics():
        return nn.Sequential(nn.BatchNorm1d(6, track_running_stats=False), nn.Linear(6, 3))

    verdict = verdict_on(classifier(norm_without_statistics, 6))
    assert verdict.outcome == "passed"
    assert "track_running_stats=False" in verdict.advice[0]


def test_samples_that_do_not_stand_alone_are_not_judged(verdict_on):
    verdict = verdict_on(classifier(lambda: Centred(over=0), 6, batch_dim=None))
    assert verdict.outcome == "not applicable"


@pytest.mark.parametrize(
    "make", [lambda: torch.zeros(32, 6), lambda: torch.randn(1, 6)], ids=["alike", "a single one"]
)
def test_a_batch_that_cannot_show_it_is_inconclusive(verdict_on, make):
    def build():
        inputs = make()
        labels = torch.zeros(len(inputs), dtype=torch.long)
        return Recipe(model=nn.Linear(6, 3), train_data=(inputs, labels), loss=nn.CrossEntropyLoss())

    assert verdict_on(build).outcome == "inconclusive"


def test_the_recipe_is_left_as_it_was(verdict_on):
    built = []

    def build():
        built.append(StuckNorm(stuck=False))
        labels = torch.zeros(32, dtype=torch.long)
        return Recipe(
            model=built[0], train_data=(torch.randn(32, 6), labels), loss=nn.CrossEntropyLoss()
        )

    assert verdict_on(build).outcome == "passed"
    assert built[0].norm.running_mean.dtype == torch.float32
    assert not built[0].norm.running_mean.any()


class Turned(nn.Module):
    """Time first for the recurrent layer, by a transpose or by a reshape that is none."""

    def __init__(self, *, by_reshape):
        super().__init__()
        self.rnn, self.head, self.by_reshape = nn.GRU(5, 8), nn.Linear(8, 3), by_reshape

    def forward(self, x):
        turned = x.reshape(x.size(1), x.size(0), 5) if self.by_reshape else x.transpose(0, 1)
        return self.head(self.rnn(turned)[0][-1])


@pytest.mark.parametrize("steps", [6, 7, 12, 32])
def test_a_reshape_before_a_recurrence_is_named_and_not_the_recurrence(verdict_on, steps):
    verdict = verdict_on(classifier(lambda: Turned(by_reshape=True), steps, 5))
    assert verdict.failed
    assert verdict.sites == ("",)
    assert "reshape" in verdict.cause
    assert verdict_on(classifier(lambda: Turned(by_reshape=False), steps, 5)).outcome == "passed"


class Scaled(nn.Module):
    def __init__(self, *, over_all):
        super().__init__()
        self.head, self.over_all = nn.Linear(6, 3), over_all

    def forward(self, x):
        return self.head(x / (x.abs().max() if self.over_all else x.abs().amax(1, keepdim=True)))


@pytest.mark.parametrize("over_all", [True, False])
def test_a_maximum_over_the_batch_is_found(verdict_on, over_all):
    assert verdict_on(classifier(lambda: Scaled(over_all=over_all), 6)).failed is over_all


def in_ones(model):
    def build():
        inputs, labels = torch.randn(32, 1, 6), torch.randint(0, 3, (32, 1))
        data = list(zip(inputs, labels, strict=True))
        return Recipe(model=model(), train_data=data, loss=nn.CrossEntropyLoss())

    return build


def test_batches_of_one_sample_are_put_together(verdict_on):
    assert verdict_on(in_ones(lambda: Scaled(over_all=True))).failed
    assert verdict_on(in_ones(lambda: Scaled(over_all=False))).outcome == "passed"


@pytest.mark.parametrize("mixed", [True, False])
def test_the_axis_of_samples_may_be_named_by_the_shapes(verdict_on, mixed):
    class Sequences(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.GRU(5, 8, batch_first=mixed), nn.Linear(8, 3)

        def forward(self, x):
            return self.head(self.rnn(x)[0][-1])

    def build():
        batch = (torch.randn(9, 16, 5), torch.randint(0, 3, (16,)))
        return Recipe(
            model=Sequences(), train_data=[batch], loss=nn.CrossEntropyLoss(), shapes="t b 5 -> b 3"
        )

    assert verdict_on(build).failed is mixed


def stepwise(mix):
    class Parts(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.decoder = Centred(over=0 if mix == "module" else 1), nn.Linear(3, 6)

    def step(model, batch):
        hidden = model.encoder(batch[0])
        hidden = hidden.flip(0) + hidden if mix == "step" else hidden
        return (model.decoder(hidden) - batch[0]).square().mean()

    def build():
        data = [(torch.randn(16, 6), torch.zeros(16))]
        return Recipe(model=Parts(), train_data=data, training_step=step)

    return build


def test_a_step_that_calls_parts_of_the_model_is_looked_into(verdict_on):
    assert verdict_on(stepwise("")).outcome == "passed"
    assert verdict_on(stepwise("module")).sites == ("encoder",)
    assert verdict_on(stepwise("step")).outcome == "inconclusive"


class Packed(nn.Module):
    """Packs sequences, which sorts them and puts them back; then puts both directions together."""

    def __init__(self, together):
        super().__init__()
        self.rnn, self.head = nn.GRU(5, 8, batch_first=True, bidirectional=True), nn.Linear(16, 3)
        self.together = together

    def forward(self, x):
        lengths = (x[..., 0] > 0).sum(1).clamp(min=1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return self.head(self.together(self.rnn(packed)[1]))


def test_what_sorts_and_puts_back_is_not_blamed(verdict_on):
    sick = classifier(lambda: Packed(lambda h: h.reshape(h.size(1), -1)), 9, 5)
    verdict = verdict_on(sick)
    assert verdict.failed
    assert "reshape" in verdict.cause
    assert verdict_on(classifier(lambda: Packed(lambda h: torch.cat([*h], 1)), 9, 5)).outcome == "passed"
