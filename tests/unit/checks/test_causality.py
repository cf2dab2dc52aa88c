"""Outputs that see the future, and targets not shifted, are found and named."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck.recipe import Recipe

VOCABULARY = 23


class Attention(nn.Module):
    def __init__(self, reach):
        super().__init__()
        self.qkv, self.reach = nn.Linear(16, 48), reach

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        time = torch.arange(x.size(1))
        seen = self.reach(time[None], time[:, None])
        weights = (q @ k.transpose(1, 2) / 4).masked_fill(~seen, float("-inf"))
        return weights.softmax(-1) @ v


class Convolution(nn.Module):
    def __init__(self, *, both_sides):
        super().__init__()
        self.conv = nn.Conv1d(16, 16, 3, padding=1 if both_sides else 0)
        self.both_sides = both_sides

    def forward(self, x):
        x = x.transpose(1, 2)
        return self.conv(x if self.both_sides else F.pad(x, (2, 0))).transpose(1, 2)


class Recurrent(nn.Module):
    def __init__(self, *, bidirectional):
        super().__init__()
        self.rnn = nn.LSTM(16, 8 if bidirectional else 16, batch_first=True, bidirectional=bidirectional)

    def forward(self, x):
        return self.rnn(x)[0]


class LanguageModel(nn.Module):
    def __init__(self, mixer, *, shifts=False):
        super().__init__()
        self.tokens, self.mixer = nn.Embedding(VOCABULARY, 16), mixer
        self.head, self.shifts = nn.Linear(16, VOCABULARY), shifts

    def forward(self, input_ids, labels=None):
        h = self.tokens(input_ids)
        if self.shifts:
            h = F.pad(h[:, :-1], (0, 0, 1, 0))
        logits = self.head(h + self.mixer(h))
        if labels is None:
            return logits
        return {"loss": cross_entropy(logits[:, :-1], labels[:, 1:]), "logits": logits}


def cross_entropy(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def tokens():
    return torch.randint(0, VOCABULARY, (32, 13))


def language(mixer, *, causal=1, shifted=True, **options):
    def build():
        text = tokens()
        data = (text[:, :-1], text[:, 1:] if shifted else text[:, :-1])
        model = LanguageModel(mixer(), **options)
        return Recipe(model=model, train_data=data, loss=cross_entropy, causal=causal)

    return build


def displaced_by(shift, causal):
    """Targets so many places after their inputs, where one would be right."""

    def build():
        text = torch.randint(0, VOCABULARY, (32, 16))
        data = (text[:, 2:13], text[:, 2 + shift : 13 + shift])
        return Recipe(model=LanguageModel(sound()), train_data=data, loss=cross_entropy, causal=causal)

    return build


def sound():
    return Attention(lambda key, query: key <= query)


FAULTS = {
    "no mask": (lambda: Attention(lambda k, q: k < 99 + q), "mixer", "no causal mask"),
    "inverted mask": (lambda: Attention(lambda k, q: k >= q), "mixer", "inverted"),
    "one too far": (lambda: Attention(lambda k, q: k <= q + 1), "mixer", "one position ahead"),
    "bidirectional": (lambda: Recurrent(bidirectional=True), "mixer.rnn", "both directions"),
    "padding": (lambda: Convolution(both_sides=True), "mixer.conv", "both sides"),
}
HEALTHY = {
    "attention": sound,
    "recurrent": lambda: Recurrent(bidirectional=False),
    "convolution": lambda: Convolution(both_sides=False),
}


@pytest.mark.parametrize("causal", [1, None], ids=["declared", "told by the data"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_view_of_the_future_is_found_and_named(verdict_on, fault, causal):
    mixer, site, cause = FAULTS[fault]
    verdict = verdict_on(language(mixer, causal=causal))
    assert verdict.failed
    assert verdict.sites == (site,)
    assert cause in verdict.cause


@pytest.mark.parametrize("causal", [1, None], ids=["declared", "told by the data"])
@pytest.mark.parametrize("mixer", HEALTHY)
def test_a_causal_model_passes(verdict_on, mixer, causal):
    assert verdict_on(language(HEALTHY[mixer], causal=causal)).outcome == "passed"


def test_targets_that_are_not_shifted_are_found(verdict_on):
    verdict = verdict_on(language(sound, shifted=False))
    assert verdict.failed
    assert verdict.sites == ("data",)


@pytest.mark.parametrize("causal", [1, None])
def test_targets_shifted_the_wrong_way_are_found(verdict_on, causal):
    verdict = verdict_on(displaced_by(-1, causal))
    assert verdict.outcome == "failed"
    assert "shifted the wrong way" in verdict.cause


@pytest.mark.parametrize("causal", [1, None])
def test_targets_that_are_shifted_twice_are_found(verdict_on, causal):
    verdict = verdict_on(displaced_by(2, causal))
    assert verdict.outcome == "failed"
    assert "shifted twice" in verdict.cause


def test_targets_need_no_shift_where_the_model_shifts_its_inputs(verdict_on):
    assert verdict_on(language(sound, shifted=False, shifts=True)).outcome == "passed"


def test_labels_may_be_the_inputs_where_the_model_shifts_its_labels(verdict_on):
    def build():
        text = tokens()
        batches = [{"input_ids": part, "labels": part} for part in text.split(8)]
        return Recipe(model=LanguageModel(sound()), train_data=batches, causal=1)

    assert verdict_on(build).outcome == "passed"


def test_a_model_that_tags_tokens_may_see_all_of_them(verdict_on):
    def build():
        text = tokens()
        model = LanguageModel(FAULTS["no mask"][0]())
        return Recipe(model=model, train_data=(text, text % 7), loss=cross_entropy)

    assert verdict_on(build).outcome == "not applicable"


class Translator(nn.Module):
    def __init__(self, *, masked):
        super().__init__()
        self.tokens, self.head = nn.Embedding(VOCABULARY, 16), nn.Linear(16, VOCABULARY)
        self.body = nn.Transformer(16, 2, 1, 1, 32, batch_first=True)
        self.masked = masked

    def forward(self, source, target):
        mask = nn.Transformer.generate_square_subsequent_mask(target.size(1))
        mask = mask if self.masked else None
        return self.head(self.body(self.tokens(source), self.tokens(target), tgt_mask=mask))


@pytest.mark.parametrize("masked", [True, False])
def test_an_encoder_may_see_its_whole_input_and_a_decoder_may_not(verdict_on, masked):
    def build():
        batches = [((a[:, :-1], b[:, :-1]), b[:, 1:]) for a, b in [(tokens(), tokens())]]
        model = Translator(masked=masked)
        return Recipe(model=model, train_data=batches, loss=cross_entropy, causal=1)

    verdict = verdict_on(build)
    assert verdict.outcome == ("passed" if masked else "failed")
    assert masked or "decoder" in verdict.sites[0]


class Centred(nn.Module):
    def __init__(self, by):
        super().__init__()
        self.by = by

    def forward(self, x):
        return x - self.by(x)


OVER_TIME = {
    "mean": lambda x: x.mean(1, keepdim=True),
    "flip": lambda x: x.flip(1),
    "layer_norm": lambda x: F.layer_norm(x, x.shape[1:]),
}


@pytest.mark.parametrize("name", OVER_TIME)
def test_the_operation_that_runs_over_time_is_named(verdict_on, name):
    verdict = verdict_on(language(lambda: Centred(OVER_TIME[name])))
    assert verdict.failed
    assert f"{name} (test_causality.py:" in verdict.cause


def test_a_causal_model_that_copies_is_found_without_a_declaration(verdict_on):
    verdict = verdict_on(language(sound, causal=None, shifted=False))
    assert verdict.failed
    assert "not shifted" in verdict.cause


class Transformer(nn.Module):
    """Two layers of attention with residual connections."""

    def __init__(self, reach, normalised=-1):
        super().__init__()
        self.layers = nn.ModuleList(Layer(reach, normalised) for _ in range(2))

    def forward(self, x):
        for layer in self.layers:
            x = x + layer(x)
        return x


class Layer(nn.Module):
    def __init__(self, reach, normalised):
        super().__init__()
        self.qkv, self.reach, self.normalised = nn.Linear(16, 48), reach, normalised

    def forward(self, x):
        q, k, v = (part.unflatten(2, (2, 8)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        time = torch.arange(x.size(1))
        seen = self.reach(time[None], time[:, None])
        weights = (q @ k.transpose(2, 3) / 3).masked_fill(~seen, float("-inf")).softmax(self.normalised)
        return (weights @ v).transpose(1, 2).flatten(2)


@pytest.mark.parametrize(
    ("mixer", "words"),
    [
        (lambda: Transformer(lambda key, query: key <= query + 1), "one diagonal too far"),
        (lambda: Transformer(lambda key, query: key <= query + 3), "no causal mask"),
        (lambda: Transformer(lambda key, query: key <= query, -2), "softmax"),
    ],
    ids=["one too far in each layer", "three too far", "normalised over the queries"],
)
def test_what_is_wrong_in_stacked_attention_is_named(verdict_on, mixer, words):
    verdict = verdict_on(language(mixer))
    assert verdict.failed
    assert words in verdict.cause
    assert verdict.sites == ("mixer.layers.0",)


class Reverser(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, 16)
        self.encoder, self.decoder = (nn.GRU(16, 16, batch_first=True) for _ in range(2))
        self.head = nn.Linear(16, VOCABULARY)

    def forward(self, source, given):
        return self.head(self.decoder(self.tokens(given), self.encoder(self.tokens(source))[1])[0])


def translation(shift):
    def factory():
        model, source = Reverser(), torch.randint(1, VOCABULARY, (32, 8))
        answer = source.flip(1)
        given = F.pad(answer, (1, 0))[:, :-1] if shift else answer
        return Recipe(
            model=model,
            train_data=[(source, given, answer)],
            forward=lambda model, batch: model(batch[0], batch[1]),
            targets=lambda batch: batch[2],
            loss=lambda logits, targets: F.cross_entropy(logits.flatten(0, 1), targets.flatten()),
            optimizer=torch.optim.Adam(model.parameters()),
        )

    return factory


def test_a_decoder_that_is_fed_its_targets_is_found_beside_its_encoder(verdict_on):
    verdict = verdict_on(translation(shift=False))
    assert verdict.failed
    assert "learns to copy" in verdict.cause


def test_a_decoder_that_is_fed_what_came_before_passes(verdict_on):
    assert verdict_on(translation(shift=True)).outcome == "passed"
