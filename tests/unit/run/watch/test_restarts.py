"""One batch of a data set for ever is told from what goes on, and from what is only looked at."""

import itertools

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from pytest_dlcheck import watch

ROWS = torch.randn(60, 3)


def told(second, *, use=lambda model, rows: model(rows).mean()):
    """The rows of a loop that trains on a shuffled loader and on what ``second`` gives."""
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    main = DataLoader(TensorDataset(torch.randn(60, 3)), 4, shuffle=True)
    with watch() as run:
        for _ in range(4):
            for (x,) in main:
                loss = model(x).mean()
                more = use(model, second())
                optimizer.zero_grad()
                (loss if more is None else loss + more).backward()
                optimizer.step()
    return run.trace.rows("restarted")


def loader(size=10, *, shuffle=False, rows=ROWS):
    return DataLoader(TensorDataset(rows), size, shuffle=shuffle)


def first_of(made):
    return lambda: next(iter(made))[0]


def test_a_first_batch_for_ever_is_counted():
    (row,) = told(first_of(loader()))
    assert row.integer("begun") == 60
    assert row.integer("length") == 6
    assert row.integer("compared") == row.integer("trained") == 24
    assert row.integer("others") == 1


def test_a_loader_made_in_each_step_is_one_of_its_data_set():
    data = TensorDataset(ROWS)
    (row,) = told(lambda: next(iter(DataLoader(data, 10)))[0])
    assert row.integer("begun") == 60


@pytest.mark.parametrize(
    "use",
    [
        lambda model, rows: model(rows.clone().double().float()).mean(),
        lambda model, rows: model(torch.cat([torch.randn(4, 3), rows])).mean(),
        lambda model, rows: model(rows.view(5, 2, 3)).mean(),
    ],
    ids=["moved", "beside others", "another shape"],
)
def test_it_is_known_again(use):
    (row,) = told(first_of(loader()), use=use)
    assert row.integer("trained") == 24


def test_what_no_gradient_comes_back_from_is_not_told():
    def looks(model, rows):
        model(rows).sum().item()

    assert not told(first_of(loader()), use=looks)


STREAM = itertools.chain.from_iterable(itertools.repeat(loader()))


@pytest.mark.parametrize(
    "second",
    [
        first_of(loader(shuffle=True)),
        first_of(loader(60)),
        lambda: next(STREAM)[0],
        lambda: torch.stack([rows for (rows,) in loader()])[0],
        lambda: next(iter(loader(rows=torch.randn(60, 3))))[0],
    ],
    ids=["shuffled", "all in one", "goes on", "read to its end", "other data each time"],
)
def test_others_are_not_told(second):
    assert not told(second)
