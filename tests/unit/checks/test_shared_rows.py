"""Ids that are cut to the rows of a table are told from rare ones, hashes, and capped numbers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pytest_dlcheck.recipe import Recipe

from .conftest import examination

IDS = 300


class Table(nn.Module):
    """Looks up an id, as ``cut`` leaves it, beside a second column."""

    def __init__(self, rows, cut):
        super().__init__()
        self.users, self.items = nn.Embedding(rows, 4), nn.Embedding(20, 4)
        self.head, self.cut = nn.Linear(8, 3), cut

    def forward(self, x):
        user = self.users(self.cut(x[:, 0]))
        return self.head(torch.cat([user, self.items(x[:, 1])], 1))


def ids():
    return torch.randint(0, IDS, (256,))


def rare_ones():
    drawn = torch.rand(256).pow(4) * IDS
    return drawn.long()


def verdict_on(rows, cut, drawn=ids, **facts):
    def build():
        torch.manual_seed(1)
        inputs = torch.stack([drawn(), torch.randint(0, 20, (256,))], 1)
        data = [(inputs, torch.randint(0, 3, (256,)))]
        return Recipe(model=Table(rows, cut), train_data=data, loss=nn.CrossEntropyLoss(), **facts)

    return examination(build, ("uses_its_inputs",)).judge("uses_its_inputs", build)


CUTS = {
    "clamp": lambda x: x.clamp(max=29),
    "in place": lambda x: x.clone().clamp_(0, 29),
    "minimum": lambda x: torch.minimum(x, torch.tensor(29)),
    "before a view": lambda x: x.clamp(max=29).view(-1, 1).squeeze(1),
    "before an offset": lambda x: x.clamp(max=28) + 1,
    "after a cast": lambda x: x.int().clip(0, 29).long(),
}


@pytest.mark.parametrize("name", CUTS)
def test_ids_cut_to_a_small_table_are_advice(name):
    verdict = verdict_on(30, CUTS[name])
    assert not verdict.failed
    assert "share row 29 of `users`, which has 30 rows" in verdict.advice[-1]
    assert "test_shared_rows.py" in verdict.advice[-1]


def test_numbers_that_all_leave_the_same_rest_are_advice():
    verdict = verdict_on(100, lambda x: x % 100, lambda: ids() * 50)
    assert not verdict.failed
    assert "share row" in verdict.advice[-1]


def test_both_columns_cut_at_once_are_told_apart():
    class Both(Table):
        def forward(self, x):
            user, item = x.clamp(max=29).T
            return self.head(torch.cat([self.users(user), self.items(item)], 1))

    def build():
        inputs = torch.stack([ids(), torch.randint(0, 20, (256,))], 1)
        data = [(inputs, torch.randint(0, 3, (256,)))]
        return Recipe(model=Both(30, None), train_data=data, loss=nn.CrossEntropyLoss())

    verdict = examination(build, ("uses_its_inputs",)).judge("uses_its_inputs", build)
    told = [advice for advice in verdict.advice if "share row" in advice]
    assert len(told) == 1
    assert "of `users`" in told[0]


@pytest.mark.parametrize(
    ("rows", "cut", "drawn"),
    [
        (IDS, lambda x: x.clamp(max=IDS - 1), ids),
        (30, lambda x: x % 30, ids),
        (290, lambda x: x.clamp(max=289), ids),
        (200, lambda x: x.clamp(max=199), rare_ones),
        (4, lambda x: x.clamp(max=3), lambda: torch.randint(0, 9, (256,))),
        (100, lambda x: x.clamp(18, 99) - 18, lambda: torch.randint(5, 105, (256,))),
        (10, lambda x: x.clamp(max=IDS) * 0, ids),
    ],
    ids=["no cut", "hashed", "few ids", "rare words", "few kinds", "ages", "lost elsewhere"],
)
def test_healthy_cuts_are_left_alone(rows, cut, drawn):
    verdict = verdict_on(rows, cut, drawn)
    assert "share row" not in verdict.because
    assert not any("share row" in advice for advice in verdict.advice)


def test_a_table_for_two_thirds_of_the_ids_is_advice():
    verdict = verdict_on(200, lambda x: x.clamp(max=199))
    assert not verdict.failed
    assert "too few" in verdict.advice[-1]


class Relative(nn.Module):
    """Looks up clamped distances between places, most of them in the future."""

    def __init__(self):
        super().__init__()
        self.words, self.places = nn.Embedding(50, 8), nn.Embedding(9, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        places = torch.arange(x.size(1))
        distance = (places[:, None] - places).clamp(0, 8)
        return self.head((self.words(x)[:, None] * self.places(distance)).sum((1, 2)))


def test_distances_are_no_ids():
    def build():
        data = [(torch.randint(0, 50, (16, 40)), torch.randint(0, 3, (16,)))]
        return Recipe(model=Relative(), train_data=data, loss=nn.CrossEntropyLoss())

    verdict = examination(build, ("uses_its_inputs",)).judge("uses_its_inputs", build)
    assert not verdict.failed


def test_a_slice_does_not_lose_what_another_slice_takes():
    verdict = verdict_on(30, lambda x: (x // 1).clamp(max=0))
    assert not verdict.failed
    assert "`clamp`" in verdict.advice[0]
    assert "a slice" not in verdict.advice[0]


def test_a_column_that_is_sliced_and_never_used_is_found():
    class Unread(Table):
        def forward(self, x):
            self.users(x[:, 0])
            item = self.items(x[:, 1])
            return self.head(torch.cat([item, item], 1))

    def build():
        inputs = torch.stack([ids(), torch.randint(0, 20, (256,))], 1)
        data = [(inputs, torch.randint(0, 3, (256,)))]
        return Recipe(model=Unread(IDS, None), train_data=data, loss=nn.CrossEntropyLoss())

    verdict = examination(build, ("uses_its_inputs",)).judge("uses_its_inputs", build)
    assert verdict.failed
    assert "reaches no output" in verdict.cause
