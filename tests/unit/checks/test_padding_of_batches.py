"""What batch_independence says of samples that are padded as far as the longest of their batch."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import rnn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from pytest_dlcheck.policy import Policy
from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.session import Examination, Subject
from pytest_dlcheck.verdict import Outcome

WIDTH = 16


class Sets(Dataset):
    """Sets of 2 to 9 vectors, with their size as the target."""

    def __init__(self, sizes=range(2, 10)):
        generator = torch.Generator().manual_seed(1)
        self.sets = [torch.randn(k, 3, generator=generator) for k in list(sizes) * 8]

    def __len__(self):
        return len(self.sets)

    def __getitem__(self, index):
        return self.sets[index], float(len(self.sets[index]))


class OfOneSize(Sets):
    def __init__(self):
        super().__init__([5] * 8)


class Streamed(IterableDataset):
    def __iter__(self):
        return iter([Sets()[i] for i in range(64)])


def padded(samples, longest=None):
    """Vectors, which of them are real, and targets."""
    sets, targets = zip(*samples, strict=True)
    lengths = torch.tensor([len(each) for each in sets])
    values = rnn.pad_sequence(sets, batch_first=True)
    if longest:
        values = nn.functional.pad(values, (0, 0, 0, longest - values.size(1)))
    real = torch.arange(values.size(1)) < lengths[:, None]
    return (values, real), torch.tensor(targets)


def padded_before(samples):
    (values, real), targets = padded(samples)
    order = real.long().argsort(stable=True, dim=1)
    return (values.gather(1, order[..., None].expand_as(values)), real.gather(1, order)), targets


def longest_first(samples):
    return padded(sorted(samples, key=lambda sample: -len(sample[0])))


class Pooled(nn.Module):
    """Means or sums of what is made of each vector."""

    def __init__(self, way):
        super().__init__()
        self.first, self.head, self.way = nn.Linear(3, WIDTH), nn.Linear(WIDTH, 1), way

    def forward(self, values, real):
        return self.head(self.way(torch.relu(self.first(values)), real[..., None].float())).squeeze(1)


class Read(nn.Module):
    """The last state of a recurrent layer, of what is packed or of padding, too."""

    def __init__(self, *, packs):
        super().__init__()
        self.rnn, self.head, self.packs = nn.GRU(3, WIDTH, batch_first=True), nn.Linear(WIDTH, 1), packs

    def forward(self, values, real):
        if self.packs:
            values = rnn.pack_padded_sequence(
                values, real.sum(1).cpu(), batch_first=True, enforce_sorted=False
            )
        return self.head(self.rnn(values)[1][0]).squeeze(1)


class Attending(nn.Module):
    """An output for each vector."""

    def __init__(self, *, masks):
        super().__init__()
        self.first, self.masks = nn.Linear(3, WIDTH), masks
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)

    def forward(self, values, real):
        h = self.first(values)
        return self.attention(h, h, h, key_padding_mask=~real if self.masks else None)[0]


def verdict_on(model, collate=padded, data=Sets, loss=None, loader=None):
    def recipe():
        made = model()
        shuffle = not issubclass(data, IterableDataset)
        plain = lambda: DataLoader(data(), 8, shuffle=shuffle, collate_fn=collate)  # noqa: E731
        return Recipe(
            model=made,
            train_data=(loader or plain)(),
            loss=loss or nn.MSELoss(),
            optimizer=torch.optim.SGD(made.parameters(), 0.01),
        )

    subject = Subject("recipe", Policy(steps=20, device="cpu"), ("batch_independence",))
    return Examination(subject).judge("batch_independence", recipe)


def advice_on(*given, **facts):
    verdict = verdict_on(*given, **facts)
    assert verdict.outcome is Outcome.PASSED
    return verdict.advice


def squares(outputs, targets):
    return (outputs - targets[:, None, None]).square().mean()


LEAKING = {
    "a sum of padding, too": lambda h, real: h.sum(1) / real.sum(1),
    "a mean over padding, too": lambda h, real: h.mean(1),
    "a maximum over padding, too": lambda h, real: h.amax(1),
}
SOUND = {
    "a masked mean": lambda h, real: (h * real).sum(1) / real.sum(1),
    "a masked sum": lambda h, real: (h * real).sum(1),
    "a masked maximum": lambda h, real: h.masked_fill(real == 0, -1e9).amax(1),
    "the first place": lambda h, real: h[:, 0],
}


@pytest.mark.parametrize("name", LEAKING)
def test_padding_that_enters_what_is_pooled_is_advice(name):
    advice = advice_on(lambda: Pooled(LEAKING[name]))
    assert "with the padding of its batch, from 3 to 9 positions" in advice[0]


@pytest.mark.parametrize("name", SOUND)
@pytest.mark.parametrize("collate", [padded, longest_first])
def test_what_is_masked_is_silent(name, collate):
    assert advice_on(lambda: Pooled(SOUND[name]), collate) == ()


@pytest.mark.parametrize("collate", [padded_before, longest_first])
def test_padding_is_seen_wherever_the_sample_stands(collate):
    assert advice_on(lambda: Pooled(LEAKING["a mean over padding, too"]), collate)


def test_recurrent_layers_are_silent_where_they_are_given_what_is_packed():
    assert advice_on(lambda: Read(packs=True)) == ()
    assert advice_on(lambda: Read(packs=False))


@pytest.mark.parametrize("collate", [padded, padded_before])
def test_outputs_by_position_are_compared_at_their_own(collate):
    assert advice_on(lambda: Attending(masks=True), collate, loss=squares) == ()
    assert advice_on(lambda: Attending(masks=False), collate, loss=squares)


def test_nothing_is_said_where_company_does_not_pad():
    model = lambda: Pooled(LEAKING["a mean over padding, too"])  # noqa: E731
    assert advice_on(model, lambda samples: padded(samples, 9)) == ()
    assert advice_on(model, data=OfOneSize) == ()


def batches(apart):
    """Numbers of samples, batch by batch: ``apart`` of one length each."""
    numbers = sorted(range(64), key=lambda i: (len(Sets()[i][0]), i)) if apart else list(range(64))
    return [numbers[i : i + 8] for i in range(0, 64, 8)]


@pytest.mark.parametrize("apart", [True, False])
def test_a_batch_sampler_may_keep_lengths_apart(apart):
    advice = advice_on(
        lambda: Pooled(LEAKING["a mean over padding, too"]),
        loader=lambda: DataLoader(Sets(), batch_sampler=batches(apart), collate_fn=padded),
    )
    assert bool(advice) != apart


def test_streams_are_left_alone():
    assert advice_on(lambda: Pooled(LEAKING["a mean over padding, too"]), data=Streamed) == ()
