"""What loss_is_sound says where all targets that a loss compares with are one class."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck.policy import Policy
from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.session import Examination, Subject
from pytest_dlcheck.verdict import Outcome

WORDS, MASK = 20, 19


def verdict_on(batches, step, width=WORDS):
    def recipe():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Embedding(WORDS, 8), nn.Linear(8, width))
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        return Recipe(model=model, train_data=batches, training_step=step, optimizer=optimizer)

    subject = Subject("recipe", Policy(steps=20, device="cpu"), ("loss_is_sound",))
    return Examination(subject).judge("loss_is_sound", recipe)


def sentences():
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(1, MASK, (8, 24), generator=generator) for _ in range(6)]


def places(ids):
    return (torch.arange(ids.numel()).view_as(ids) * 7) % 5 == 0


def masked(ids):
    return ids.masked_fill(places(ids), MASK)


# -- steps whose labels are lost ----------------------------------------------------------------


def selected_from_what_was_masked_in_place(model, ids):
    labels, mask = ids, places(ids)
    ids[mask] = MASK
    return F.cross_entropy(model(ids)[mask], labels[mask])


def filled_in_after_masking_in_place(model, ids):
    mask = places(ids)
    ids.masked_fill_(mask, MASK)
    labels = torch.full_like(ids, -100)
    labels[mask] = ids[mask]
    return nn.CrossEntropyLoss()(model(ids).transpose(1, 2), labels)


def with_the_loss_of_a_second_head(model, ids):
    mask, first = places(ids), ids[:, 0] % 2
    ids[mask] = MASK
    labels = torch.where(mask, ids, -100)
    other = F.cross_entropy(model(ids).mean(1)[:, :2], first)
    return F.cross_entropy(model(ids).flatten(0, 1), labels.flatten()) + other


def of_the_wrong_axis(model, ids):
    return F.cross_entropy(model(ids[:, 0]), ids[:, 1:2].argmax(-1))


def masked_in_the_data(model, batch):
    return F.cross_entropy(model(batch[0]).flatten(0, 1), batch[1].flatten())


@pytest.mark.parametrize(
    "step",
    [
        selected_from_what_was_masked_in_place,
        filled_in_after_masking_in_place,
        with_the_loss_of_a_second_head,
        of_the_wrong_axis,
    ],
)
def test_labels_that_all_become_one_class_fail(step):
    verdict = verdict_on(sentences(), step)
    assert verdict.outcome is Outcome.FAILED
    assert "all labels become" in verdict.cause


def test_labels_that_were_masked_with_the_inputs_fail():
    pairs = [(masked(ids), masked(ids).where(places(ids), -100)) for ids in sentences()]
    verdict = verdict_on(pairs, masked_in_the_data)
    assert verdict.outcome is Outcome.FAILED
    assert "masked with the inputs" in verdict.cause


# -- steps that mean it -------------------------------------------------------------------------


def of_masked_words(model, ids):
    return F.cross_entropy(model(masked(ids))[places(ids)], ids[places(ids)])


def of_positives_that_come_first(model, ids):
    rows = model(ids).mean(1)
    return F.cross_entropy(rows, torch.zeros(len(ids), dtype=torch.long))


def of_positives_like_the_ids(model, ids):
    return F.cross_entropy(model(ids).mean(1), torch.zeros_like(ids[:, 0]))


def of_two_domains(model, ids):
    here, there = (model(part).mean(1) for part in ids.chunk(2))
    ours, theirs = torch.zeros(len(here)).long(), torch.ones(len(there)).long()
    return F.cross_entropy(here, ours) + F.cross_entropy(there, theirs)


def class_by_class(model, ids):
    rows, labels = model(ids[:, 0]), ids[:, 1]
    own = [labels == label for label in labels.unique()]
    return sum(F.cross_entropy(rows[of], labels[of]) for of in own)


def of_an_attribute_that_all_share(model, ids):
    attributes = torch.cat([ids[:, :3], ids[:, 3:4] * 0 + 2], 1)
    return sum(F.cross_entropy(model(ids[:, i]), attributes[:, i]) for i in range(4))


@pytest.mark.parametrize(
    "step",
    [
        of_masked_words,
        of_positives_that_come_first,
        of_positives_like_the_ids,
        of_two_domains,
        class_by_class,
        of_an_attribute_that_all_share,
    ],
)
def test_targets_of_one_class_that_are_meant_are_silent(step):
    verdict = verdict_on(sentences(), step)
    assert verdict.outcome is Outcome.PASSED
    assert not [line for line in verdict.advice if "compares with" in line]


def test_an_attribute_of_the_data_that_is_always_the_same_is_silent():
    rare = [(ids, ids.clone().index_fill_(1, torch.tensor([3]), 2)) for ids in sentences()]

    def step(model, batch):
        ids, attributes = batch
        return F.cross_entropy(model(ids[:, 0]), attributes[:, 3])

    verdict = verdict_on(rare, step)
    assert verdict.outcome is Outcome.PASSED


@pytest.mark.parametrize("alone", [True, False])
def test_one_class_of_two_alone_fails_and_beside_another_term_is_advice(alone):
    def step(model, ids):
        rows, labels = model(ids[:, :12].flatten()), ids[:, 12:].flatten() % 2
        ours, other = labels == 1, rows[labels == 0].logsumexp(1).square().mean()
        return F.cross_entropy(rows[ours], labels[ours]) + (0.0 if alone else 0.1 * other)

    verdict = verdict_on(sentences(), step, width=2)
    assert (verdict.outcome is Outcome.FAILED) is alone
    assert alone or any("compares with class 1 alone" in line for line in verdict.advice)
