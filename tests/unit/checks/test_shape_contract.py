"""What shape_contract says of small recipes whose batch axis is kept, dropped, fixed or swallowed."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.verdict import Outcome


def recipe_of(model, inputs, targets, loss=None, **facts):
    return Recipe(
        model=model,
        train_data=[(inputs, targets)],
        loss=loss or nn.CrossEntropyLoss(),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        **facts,
    )


class Net(nn.Module):
    def __init__(self, head):
        super().__init__()
        self.conv, self.fc, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(256, 10), head

    def forward(self, x):
        return self.head(self, self.conv(x).relu())


def images(head, **facts):
    return lambda: recipe_of(Net(head), torch.randn(16, 1, 8, 8), torch.randint(0, 10, (16,)), **facts)


def keeps(net, h):
    return net.fc(h.flatten(1))


def fixes(net, h):
    return net.fc(h.view(16, -1))


def squeezes(net, h):
    return net.fc(h.flatten(1)).squeeze()


def swallows(net, h):
    return net.fc(h.reshape(-1, 256 * (1 if len(h) == 16 else len(h)))[:, :256])


DECLARED = (None, "b 1 8 8 -> b 10")


@pytest.mark.parametrize("shapes", DECLARED)
def test_a_kept_batch_axis_passes(verdict_on, shapes):
    assert verdict_on(images(keeps, shapes=shapes)).outcome is Outcome.PASSED


@pytest.mark.parametrize("shapes", DECLARED)
@pytest.mark.parametrize(
    ("head", "site", "cause"),
    [
        (fixes, "fc", "the number of samples is fixed"),
        (swallows, "fc", "a view or reshape takes the batch axis"),
        (squeezes, "model", "a squeeze() without an axis"),
    ],
)
def test_a_lost_batch_axis_fails_where_it_is_lost(verdict_on, head, site, cause, shapes):
    verdict = verdict_on(images(head, shapes=shapes))

    assert verdict.failed
    assert verdict.sites[0] == site
    assert verdict.cause.startswith(cause)


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ("b 1 8 8 -> b 12", "axis 1 of `output` is 10, not 12"),
        ("b 1 8 8 -> b 10 1", "`output` has rank 2, not 3"),
        ("b 1 8 8:float64 -> b 10", "`input` has the dtype float32, not float64"),
        ("b 1 h h -> b h", "axis 1 of `output` (h) is 10, not 8"),
        ("b 1 8 8 -> b 10, b 3", "`output[1]` is declared"),
    ],
)
def test_a_contract_that_does_not_hold_fails_with_both_sizes(verdict_on, shapes, said):
    verdict = verdict_on(images(keeps, shapes=shapes))

    assert verdict.failed
    assert said in verdict.because


class Tagger(nn.Module):
    def __init__(self, length=None):
        super().__init__()
        self.embed, self.rnn = nn.Embedding(20, 8), nn.GRU(8, 8, batch_first=True)
        self.length = length

    def forward(self, x):
        states = self.rnn(self.embed(x))[0]
        return states if self.length is None else states[:, : self.length]


def tagged(length):
    def loss(outputs, targets):
        return F.cross_entropy(outputs.transpose(1, 2), targets)

    tokens = torch.randint(0, 8, (8, 12))
    return lambda: recipe_of(Tagger(length), tokens, tokens, loss, shapes="b t:int64 -> b t 8")


def test_other_lengths_are_probed_too(verdict_on):
    assert verdict_on(tagged(None)).outcome is Outcome.PASSED
    verdict = verdict_on(tagged(12))

    assert verdict.failed
    assert "with t = 24 axis 1 of `output` (t) is 12, not 24" in verdict.because


def test_strides_that_round_a_length_are_no_fault(verdict_on):
    def autoencoder():
        model = nn.Sequential(nn.Conv1d(1, 2, 3, 4, 1), nn.ConvTranspose1d(2, 1, 4, 4))
        signal = torch.randn(8, 1, 28)
        return recipe_of(model, signal, signal, nn.MSELoss(), shapes="b 1 t -> b 1 t")

    assert verdict_on(autoencoder).outcome is Outcome.PASSED


def test_tokens_flattened_with_their_targets_pass(verdict_on):
    class Flat(Tagger):
        def forward(self, x):
            return super().forward(x).flatten(0, 1)

    tokens = torch.randint(0, 8, (8, 12))
    verdict = verdict_on(
        lambda: recipe_of(Flat(), tokens, tokens, lambda o, t: F.cross_entropy(o, t.flatten()))
    )
    assert verdict.outcome is Outcome.PASSED


def test_outputs_of_a_dict_are_checked_by_name(verdict_on):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(4, 3)

        def forward(self, x):
            return {"logits": self.body(x), "mask": x}

    def factory(shapes):
        inputs, targets = torch.randn(8, 4), torch.randint(0, 3, (8,))
        loss = nn.CrossEntropyLoss()
        return lambda: recipe_of(
            Two(), inputs, targets, lambda o, t: loss(o["logits"], t), shapes=shapes
        )

    assert verdict_on(factory("b 4 -> mask: b 4, logits: b 3")).outcome is Outcome.PASSED
    assert "`output.boxes` is declared" in verdict_on(factory("b 4 -> boxes: b 4")).because


def test_a_graph_that_is_one_batch_may_refuse_others(verdict_on):
    class Graph(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("adjacency", torch.eye(20))
            self.layer = nn.Linear(5, 3)

        def forward(self, x):
            return self.adjacency @ self.layer(x)

    verdict = verdict_on(lambda: recipe_of(Graph(), torch.randn(20, 5), torch.randint(0, 3, (20,))))

    assert verdict.outcome is Outcome.PASSED
    assert "refuses to run" in verdict.advice[0]


def test_without_samples_and_shapes_it_does_not_apply(verdict_on):
    assert verdict_on(images(keeps, batch_dim=None)).outcome is Outcome.NOT_APPLICABLE


def splits(net, h):
    return net.fc(h.repeat(1, 2, 1, 1).view(-1, 256))


@pytest.mark.parametrize("shapes", DECLARED)
def test_a_view_of_the_wrong_size_is_the_first_cause_where_the_loss_raises(diagnosis_of, shapes):
    diagnosis = diagnosis_of(images(splits, shapes=shapes), steps=2)

    (first,) = diagnosis.causes
    assert first.check == "shape_contract"
    assert "is 32, not 16: its shape is (32, 10)" in first.because
    assert "a view or reshape takes the batch axis" in first.cause
    consequences = diagnosis.consequences("shape_contract")
    assert "loss_is_sound" in {verdict.check for verdict in consequences}
    assert all(v in consequences for v in diagnosis.verdicts if v.outcome is Outcome.ERRORED)
    assert any(verdict.outcome is Outcome.ERRORED for verdict in consequences)
