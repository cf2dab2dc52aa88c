"""Inputs and parts of inputs that change nothing are found and named; legitimate gaps are not faults."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pytest_dlcheck.recipe import Recipe


def classifier(make, *inputs, **facts):
    def build():
        drawn = tuple(one() for one in inputs)
        labels = torch.randint(0, 3, (16,))
        given = drawn if len(drawn) > 1 else drawn[0]
        return Recipe(model=make(), train_data=[(given, labels)], loss=nn.CrossEntropyLoss(), **facts)

    return build


class Through(nn.Module):
    """Calls a function of itself and the inputs, to write a forward in one line."""

    def __init__(self, function, **modules):
        super().__init__()
        self.function = function
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x):
        return self.function(self, x)


def mlp(width, cut=lambda x: x):
    net = nn.Sequential(nn.Linear(width, 8), nn.ReLU(), nn.Linear(8, 3))
    return Through(lambda self, x: self.net(cut(x)), net=net)


def cnn(cut=lambda x: x, channels=3):
    net = nn.Sequential(
        nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.LazyLinear(3)
    )
    return Through(lambda self, x: self.net(cut(x)), net=net)


class Reader(nn.Module):
    def __init__(self, step, *, bidirectional=False):
        super().__init__()
        self.rnn = nn.GRU(5, 8, batch_first=True, bidirectional=bidirectional)
        self.head = nn.Linear(16 if bidirectional else 8, 3)
        self.step = step

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, self.step])


class Pair(nn.Module):
    def __init__(self, *, bad):
        super().__init__()
        self.left, self.right, self.head = nn.Linear(4, 8), nn.Linear(4, 8), nn.Linear(16, 3)
        self.bad = bad

    def forward(self, one, other):
        left, right = self.left(one), self.right(one if self.bad else other)
        return self.head(torch.cat([left, right], -1).relu())


class Encoder(nn.Module):
    def __init__(self, *, bad=False):
        super().__init__()
        self.embed, self.head = nn.Embedding(50, 16), nn.Linear(16, 3)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.bad = bad

    def forward(self, ids, mask):
        hidden = self.layer(self.embed(ids), src_key_padding_mask=None if self.bad else ~mask)
        return self.head(hidden[:, 0])


def features():
    return torch.randn(16, 30)


def images():
    return torch.randn(16, 3, 16, 16)


def sequences():
    return torch.randn(16, 12, 5)


def points():
    return torch.randn(16, 4)


def tokens():
    return torch.randint(1, 50, (16, 10))


def padding():
    return torch.arange(10) < torch.randint(3, 11, (16, 1))


FAULTS = {
    "head of the features": (lambda: mlp(5, lambda x: x[:, :5]), (features,), "5 to 29", "slice"),
    "last feature lost": (lambda: mlp(29, lambda x: x[..., :-1]), (features,), "(29)", "slice"),
    "channel lost": (lambda: cnn(lambda x: x[:, :2], 2), (images,), "channels (2)", "slice"),
    "half of the image": (lambda: cnn(lambda x: x[:, :, :8]), (images,), "rows (8 to 15)", "slice"),
    "channel zeroed": (
        lambda: cnn(lambda x: x * torch.tensor([1.0, 0, 1]).view(3, 1, 1)),
        (images,),
        "channels (1)",
        "set to zero",
    ),
    "first step for the last": (lambda: Reader(0), (sequences,), "1 to 11", "the output of `rnn`"),
    "one taken twice": (lambda: Pair(bad=True), (points, points), "`other`", "another variable"),
    "mask ignored": (lambda: Encoder(bad=True), (tokens, padding), "`mask`", "nothing in forward"),
    "half of the tokens": (
        lambda: Through(
            lambda self, x: self.head(self.embed(x[:, :5]).mean(1)),
            embed=nn.Embedding(50, 8),
            head=nn.Linear(8, 3),
        ),
        (tokens,),
        "positions (5 to 9)",
        "slice",
    ),
    "constant outputs": (
        lambda: Through(lambda self, x: self.net(x) * 0, net=nn.Linear(30, 3)),
        (features,),
        "`x`",
        "constant",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_fault_is_found_and_named(verdict_on, fault):
    make, inputs, what, cause = FAULTS[fault]
    verdict = verdict_on(classifier(make, *inputs))
    assert verdict.failed
    assert what in verdict.because
    assert cause in verdict.cause


def zero_head():
    net = mlp(30)
    nn.init.zeros_(net.net[2].weight)
    return net


class Frozen(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, x):
        with torch.no_grad():
            hidden = self.body(x).relu().mean((2, 3))
        return self.head(hidden)


def set_of_points():
    return Through(
        lambda self, x: self.head(self.each(x).amax(1)),
        each=nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 8)),
        head=nn.Linear(8, 3),
    )


HEALTHY = {
    "features": (lambda: mlp(30), (features,)),
    "zero-initialised head": (zero_head, (features,)),
    "images": (cnn, (images,)),
    "a border is cropped": (lambda: cnn(lambda x: x[..., 1:-1, 1:-1]), (images,)),
    "stride skips pixels": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 5, 4), nn.Flatten(), nn.LazyLinear(3)),
        (images,),
    ),
    "frozen body without gradients": (Frozen, (images,)),
    "last step": (lambda: Reader(-1), (sequences,)),
    "first step, both directions": (lambda: Reader(0, bidirectional=True), (sequences,)),
    "maximum over points": (set_of_points, (lambda: torch.randn(16, 64, 5),)),
    "both inputs": (lambda: Pair(bad=False), (points, points)),
    "mask and first token": (Encoder, (tokens, padding)),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_model_passes(verdict_on, name):
    make, inputs = HEALTHY[name]
    verdict = verdict_on(classifier(make, *inputs))
    assert verdict.outcome == "passed", verdict.because
    assert not verdict.advice


def test_a_mask_of_ones_is_not_judged(verdict_on):
    verdict = verdict_on(classifier(lambda: Encoder(bad=True), tokens, lambda: torch.ones(16, 10) > 0))
    assert verdict.outcome == "passed"
    assert "not judged" in verdict.because


def test_a_short_receptive_field_is_advice(verdict_on):
    def make():
        return Through(
            lambda self, x: self.head(self.conv(x.transpose(1, 2))[..., -1]),
            conv=nn.Conv1d(5, 8, 3),
            head=nn.Linear(8, 3),
        )

    verdict = verdict_on(classifier(make, sequences))
    assert verdict.outcome == "passed"
    assert "receptive field" in verdict.advice[0]


def test_the_token_that_a_language_model_is_to_predict_may_be_left_out(verdict_on):
    def build():
        ids = torch.randint(0, 20, (16, 9))
        model = Through(
            lambda self, x: self.head(self.embed(x[:, :-1])),
            embed=nn.Embedding(20, 8),
            head=nn.Linear(8, 20),
        )

        def loss(logits, labels):
            return nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten())

        return Recipe(model=model, train_data=[(ids, ids)], loss=loss)

    verdict = verdict_on(build)
    assert verdict.outcome == "passed"
    assert not verdict.advice


class Forced(nn.Module):
    """Is given the right answers, now and then, while it trains."""

    def __init__(self):
        super().__init__()
        self.embed, self.cell, self.head = nn.Embedding(20, 8), nn.GRUCell(8, 8), nn.Linear(8, 20)

    def forward(self, start, answers):
        state, given, steps = self.embed(start), answers[:, 0], []
        for step in range(1, answers.size(1)):
            state = self.cell(self.embed(given), state)
            steps.append(self.head(state))
            forced = self.training and torch.rand(()) < 0.5
            given = answers[:, step] if forced else steps[-1].argmax(1)
        return torch.stack(steps, 1)


def test_answers_that_only_training_looks_at_are_used(verdict_on):
    def build():
        start, answers = torch.randint(0, 20, (16,)), torch.randint(0, 20, (16, 6))

        def loss(logits, labels):
            return nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten())

        return Recipe(model=Forced(), train_data=[((start, answers), answers)], loss=loss)

    verdict = verdict_on(build)
    assert verdict.outcome == "passed", verdict.because


def test_the_recipe_is_left_as_it_was(verdict_on):
    built = []

    def build():
        built.append(zero_head())
        labels = torch.randint(0, 3, (16,))
        return Recipe(
            model=built[0], train_data=[(torch.randn(16, 30), labels)], loss=nn.CrossEntropyLoss()
        )

    assert verdict_on(build).outcome == "passed"
    assert not built[0].net[2].weight.any()
    assert built[0].net[0].weight.dtype == torch.float32


@pytest.mark.parametrize(("crop", "failed"), [(slice(0, 8), True), (slice(4, 12), False)])
def test_margins_without_contents_do_not_hide_that_an_edge_is_cut_off(verdict_on, crop, failed):
    def framed():
        drawn = images()
        drawn[..., :2] = drawn[..., -2:] = 0
        return drawn

    verdict = verdict_on(classifier(lambda: cnn(lambda x: x[..., crop]), framed))
    assert verdict.failed is failed
    assert not failed or "columns (8 to 13)" in verdict.because


# -- columns of a table --------------------------------------------------------------------------


class Table(nn.Module):
    """Looks up each column in a table of its own."""

    def __init__(self, columns):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(6, 4) for _ in columns)
        self.columns, self.head = columns, nn.Linear(4 * len(columns), 3)

    def forward(self, x):
        found = [table(x[:, column]) for table, column in zip(self.tables, self.columns, strict=True)]
        return self.head(torch.cat(found, 1))


def kinds(values=6):
    return lambda: torch.randint(0, values, (16, 3))


@pytest.mark.parametrize("columns", [(0, 0, 2), (0, 1), (0, 2, 2)])
def test_a_column_that_no_table_looks_up_is_found(verdict_on, columns):
    verdict = verdict_on(classifier(lambda: Table(columns), kinds()))
    assert verdict.failed
    assert "features" in verdict.because


def test_columns_that_are_all_looked_up_pass(verdict_on):
    assert verdict_on(classifier(lambda: Table((2, 0, 1)), kinds(3))).outcome == "passed"


# -- masks of padding ----------------------------------------------------------------------------


class Masked(nn.Module):
    """Attends to what its mask leaves, by one of torch's conventions or by hand."""

    def __init__(self, attend, hides):
        super().__init__()
        self.tokens, self.key, self.head = nn.Embedding(20, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1)
        self.attend, self.hides = attend, hides

    def forward(self, x):
        h = self.tokens(x) if x.dim() == 2 else self.key(x)
        padding = x == 0 if x.dim() == 2 else (x == 0).all(2)
        hidden = padding if self.hides == "padding" else ~padding
        return self.head((h + self.attend(self, h, hidden)).sum(1))


def by_torch(net, h, hidden):
    return net.attention(h, h, h, key_padding_mask=hidden, need_weights=False)[0]


def by_encoder(net, h, hidden):
    return net.encoder(h, src_key_padding_mask=hidden)


def by_product(net, h, hidden):
    taking_part = ~hidden[:, None, None]
    heads = net.key(h)[:, None]
    return nn.functional.scaled_dot_product_attention(heads, heads, heads, attn_mask=taking_part)[:, 0]


def by_hand(net, h, hidden):
    scores = net.key(h) @ h.transpose(1, 2)
    return scores.masked_fill(hidden[:, None], -1e9).softmax(-1) @ h


def sentences():
    lengths = torch.randint(2, 8, (16, 1))
    return torch.randint(1, 20, (16, 8)) * (torch.arange(8) < lengths)


def recordings():
    lengths = torch.randint(2, 8, (16, 1, 1))
    return torch.randn(16, 8, 8) * (torch.arange(8)[None, :, None] < lengths)


ATTENTION = pytest.mark.parametrize("attend", [by_torch, by_encoder, by_product, by_hand])
SEQUENCES = pytest.mark.parametrize("sequences", [sentences, recordings])


@ATTENTION
@SEQUENCES
def test_a_mask_that_hides_all_but_the_padding_is_found(verdict_on, attend, sequences):
    verdict = verdict_on(classifier(lambda: Masked(attend, "steps"), sequences))
    assert verdict.failed
    assert "inverted" in verdict.cause


@ATTENTION
@SEQUENCES
def test_a_mask_that_hides_the_padding_passes(verdict_on, attend, sequences):
    assert not verdict_on(classifier(lambda: Masked(attend, "padding"), sequences)).failed


def test_attention_without_a_mask_passes(verdict_on):
    plain = classifier(lambda: Masked(lambda net, h, _: net.attention(h, h, h)[0], "padding"), sentences)
    assert not verdict_on(plain).failed
