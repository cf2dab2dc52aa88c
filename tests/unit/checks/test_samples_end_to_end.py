"""Batches whose samples lie end to end are never cut, and what needs single samples is not asked."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.verdict import Outcome

WORDS, TOPICS = 30, 3


def _documents(count, seed):
    draws = torch.Generator().manual_seed(seed)
    topics = torch.randint(TOPICS, (count,), generator=draws).tolist()
    lengths = torch.randint(5, 20, (count,), generator=draws).tolist()
    frequent = torch.ones(TOPICS, WORDS) + 4 * torch.eye(TOPICS).repeat_interleave(WORDS // TOPICS, 1)
    pairs = zip(lengths, topics, strict=True)
    return [(torch.multinomial(frequent[t], n, replacement=True, generator=draws), t) for n, t in pairs]


def _strung(items):
    documents, topics = zip(*items, strict=True)
    starts = torch.tensor([0, *(len(each) for each in documents[:-1])]).cumsum(0)
    return (torch.cat(documents), starts), torch.tensor(topics)


class Bags(nn.Module):
    def __init__(self):
        super().__init__()
        self.bag, self.out = nn.EmbeddingBag(WORDS, 16), nn.Linear(16, TOPICS)

    def forward(self, words, starts):
        return self.out(self.bag(words, starts))


def bags():
    model = Bags()
    train, val = (DataLoader(_documents(n, n), 24, collate_fn=_strung) for n in (480, 120))
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-2),
    )


def test_bags_of_words_train_and_nothing_is_cut(diagnosis_of):
    outcomes = {verdict.check: verdict for verdict in diagnosis_of(bags).verdicts}
    for name in ("overfits_a_batch", "generalizes", "learns_from_its_inputs"):
        assert outcomes[name].outcome is Outcome.PASSED, outcomes[name]
    assert outcomes["batch_independence"].outcome is Outcome.NOT_APPLICABLE
    assert not outcomes["splits_do_not_overlap"].advice
    assert not any(verdict.outcome in {Outcome.FAILED, Outcome.ERRORED} for verdict in outcomes.values())


class Whole(nn.Module):
    """Insists on the loader's own batch size, which it was built for."""

    def __init__(self, size):
        super().__init__()
        self.each, self.out = nn.Parameter(torch.zeros(size, 1)), nn.Linear(4, 2)

    def forward(self, x):
        return self.out(x) + self.each


def test_a_model_that_refuses_fewer_samples_is_fitted_on_its_whole_batch(diagnosis_of):
    def whole():
        model, x = Whole(32), torch.randn(32, 4)
        return Recipe(
            model=model,
            train_data=[(x, (x[:, 0] > 0).long())],
            loss=nn.CrossEntropyLoss(),
            optimizer=torch.optim.Adam(model.parameters(), lr=3e-2),
        )

    (verdict,) = (v for v in diagnosis_of(whole).verdicts if v.check == "overfits_a_batch")
    assert verdict.outcome is Outcome.PASSED


def _noise_level(model, batch):
    (clean,) = batch
    noise, keep = torch.randn_like(clean), torch.rand(len(clean))
    return nn.functional.mse_loss(model(keep.sqrt() * clean + (1 - keep).sqrt() * noise), noise)


def test_a_refusal_shows_what_as_many_samples_as_features_hide(diagnosis_of):
    def square():
        model = nn.Linear(16, 16)
        return Recipe(
            model=model,
            train_data=DataLoader(TensorDataset(torch.randn(160, 16)), 16),
            training_step=_noise_level,
            optimizer=torch.optim.Adam(model.parameters()),
        )

    (verdict,) = (v for v in diagnosis_of(square).verdicts if v.check == "overfits_a_batch")
    assert "must match" in verdict.cause
