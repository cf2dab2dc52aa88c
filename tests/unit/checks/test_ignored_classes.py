"""What loss_is_sound says of an ignore_index that is a class: padding, or something to be learned."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pytest_dlcheck.policy import Policy
from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.session import Examination, Subject
from pytest_dlcheck.verdict import Outcome


def told(model, inputs, targets, *, index=0, flat=True):
    loss = nn.CrossEntropyLoss(ignore_index=index)

    def of_sequences(outputs, wanted):
        return loss(outputs.flatten(0, 1), wanted.flatten())

    def recipe():
        data = [(inputs, targets)]
        return Recipe(model=model(), train_data=data, loss=of_sequences if flat else loss)

    subject = Subject("recipe", Policy(steps=20, device="cpu"), ("loss_is_sound",))
    verdict = Examination(subject).judge("loss_is_sound", recipe)
    assert verdict.outcome is Outcome.PASSED
    return [line for line in verdict.advice if "right for what is unlabelled" in line]


def draw(*shape, low=0, high=4):
    return torch.randint(low, high, shape, generator=torch.Generator().manual_seed(0))


def tagger(words=9, tags=4):
    return lambda: nn.Sequential(nn.Embedding(words, 6), nn.Linear(6, tags))


def padded(ids, begin=0):
    ends = torch.arange(len(ids)) % 5 + 6
    return ids.masked_fill(torch.arange(ids.size(1)) >= ends[:, None], begin)


def test_a_tag_that_is_left_out_between_others_is_told():
    tags = padded(draw(16, 12))
    assert "of its 4 classes" in told(tagger(), draw(16, 12, high=9), tags)[0]


def test_a_class_of_pixels_that_is_left_out_is_told():
    def model():
        return nn.Conv2d(1, 3, 1)

    assert told(model, torch.randn(4, 1, 8, 8), draw(4, 8, 8, high=3), index=1, flat=False)


TAGS = draw(16, 12, low=1)
LEFT = padded(TAGS).flip(1)
GAPS = TAGS.masked_fill(draw(16, 12) == 0, 0)
WORDS = draw(16, 12, low=1, high=60)
SOUND = {
    "padding behind": (tagger(), TAGS, padded(TAGS)),
    "padding before": (tagger(), TAGS, LEFT),
    "padding of the inputs": (tagger(), draw(16, 12, low=1, high=9).masked_fill(GAPS == 0, 0), GAPS),
    "words that are not masked": (
        tagger(61, 61),
        WORDS,
        WORDS.masked_fill(torch.arange(192).view(16, 12) % 7 > 0, 0),
    ),
}


@pytest.mark.parametrize("name", SOUND)
def test_what_is_padding_or_not_asked_for_is_silent(name):
    model, inputs, targets = SOUND[name]
    assert not told(model, inputs, targets)


def test_an_index_beyond_the_classes_is_silent():
    assert not told(tagger(), draw(16, 12, high=9), draw(16, 12).masked_fill(GAPS == 0, 255), index=255)
