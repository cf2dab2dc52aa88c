"""A batch that is drawn anew and is the same is told from one whose rows, or their numbers, are kept."""

import functools
import inspect
import itertools
import random
import types

import numpy as np
import pytest
import torch

from pytest_dlcheck.run.tensors.rows_within import places
from pytest_dlcheck.run.watch.batches.drawing_code import draws_by_a_new_generator
from pytest_dlcheck.run.watch.batches.redrawn import Redrawn

DATA = torch.randn(300, 6, generator=torch.Generator().manual_seed(0))
SERIES = torch.randint(0, 40, (4000,), generator=torch.Generator().manual_seed(1))


def numbers(high=300, seed=3):
    return torch.randint(0, high, (16,), generator=torch.Generator().manual_seed(seed))


def row(batch, *, steps=16):
    seen = Redrawn()
    for step in range(steps):
        inputs = batch(step)
        if seen.is_open:
            seen.sees(step, (inputs,))
    return seen.row()


def windows():
    return torch.stack([SERIES[i : i + 12] for i in numbers(len(SERIES) - 12)])


BYTES = (DATA * 40).round().to(torch.int8)
TABLE = np.asfortranarray(DATA.numpy())


@pytest.mark.parametrize(
    "draw",
    [
        lambda _: DATA[numbers()],
        lambda _: DATA[numbers().sort().values.flip(0).roll(1)],
        lambda _: windows(),
        lambda _: torch.tensor(TABLE[numbers().numpy()]),
        lambda _: BYTES[numbers()].float(),
        lambda _: DATA[numbers()].double(),
    ],
    ids=["rows", "rows in another order", "windows", "an array of columns", "bytes", "precision"],
)
def test_rows_out_of_order_that_nobody_keeps_are_told(draw):
    found = row(draw)
    assert found.integer("alike") >= 8
    assert found.integer("rows") == 16
    assert found.integer("of") >= 5


OTHER = 5
KEPT = numbers(seed=OTHER)
BLOCKS = [int(b) for b in numbers(len(SERIES) // 20, OTHER)]


def in_a_generator():
    kept = numbers(seed=OTHER)
    while True:
        yield DATA[kept]


def in_a_default():
    kept = numbers(seed=OTHER).tolist()
    return lambda _, kept=kept: DATA[kept]


def in_a_table_of_its_own():
    kept = {"rows": (DATA[numbers(seed=OTHER)].numpy(),)}
    return lambda _: torch.tensor(kept["rows"][0])


def as_attributes():
    kept = types.SimpleNamespace(rows=[DATA[i].clone() for i in numbers(seed=OTHER)])
    return lambda _: torch.stack(kept.rows)


def as_lists():
    kept = [row.tolist() for row in DATA[numbers(seed=OTHER)]]
    return lambda _: torch.tensor(kept)


def in_an_iterator():
    kept = itertools.cycle([numbers(seed=OTHER)])
    return lambda _: DATA[next(kept)]


GENERATOR = in_a_generator()


@pytest.mark.parametrize(
    "cut",
    [
        lambda _: DATA[KEPT],
        lambda _: next(GENERATOR),
        in_a_default(),
        in_a_table_of_its_own(),
        as_attributes(),
        as_lists(),
        in_an_iterator(),
        functools.partial(lambda kept, _: DATA[kept.long()], KEPT.to(torch.int16)),
        lambda _: torch.stack([SERIES[20 * b : 20 * b + 12] for b in BLOCKS]),
        lambda _: DATA[:16].clone(),
        lambda _: DATA[DATA[:, 0] > 1].clone(),
        lambda _: DATA.flip(0).clone(),
        lambda step: DATA[numbers(seed=step)],
        lambda step: DATA[numbers(seed=step // 5)],
        lambda _: torch.randn(16, 6, generator=torch.Generator().manual_seed(0)),
    ],
    ids=[
        *("numbers", "a generator's frame", "a default", "an array", "a list of rows", "lists"),
        *("an iterator", "a partial", "blocks", "the first", "a mask", "all", "another each step"),
        *("for some steps", "made points"),
    ],
)
def test_what_may_be_meant_is_not_told(cut):
    assert row(cut).integer("alike") == 0


def test_one_batch_that_is_cut_once_is_not_told():
    once = DATA[numbers(seed=7)]
    assert row(lambda _: once).integer("alike") == 0
    assert row(lambda _: once.view(16, 2, 3)).integer("alike") == 0


def test_a_part_of_the_batches_that_is_large_is_not_told():
    few = torch.randn(60, 6)
    assert row(lambda _: few[numbers(60)]).integer("alike") == 0


def test_rows_are_found_where_they_stand():
    standing, lines = places(DATA[[7, 3, 250]].numpy(), DATA)
    assert standing.tolist() == [7, 3, 250]
    assert (lines.rows, lines.span) == (300, 1)


def test_windows_are_found_where_they_begin():
    series = torch.randn(500, 2)
    wanted = torch.stack([series[i : i + 5].flatten() for i in (400, 2, 33)]).numpy()
    standing, lines = places(wanted, series)
    assert standing.tolist() == [400, 2, 33]
    assert lines.span == 5


def test_a_row_that_stands_in_several_places_is_in_none_for_certain():
    twice = torch.cat([DATA, DATA[:5]])
    standing, _ = places(twice[[2, 100]].numpy(), twice)
    assert standing.tolist() == [-1, 100]


def test_rows_that_are_not_all_there_are_not_found():
    assert places(torch.randn(3, 6).numpy(), DATA) is None
    assert places(torch.randn(3, 7).numpy(), DATA) is None


def asked():
    return draws_by_a_new_generator(inspect.currentframe().f_back)


def draw_batch(seed):
    return random.Random(seed).sample(range(100), 8)


def draw_support(seed):
    return random.Random(seed).sample(range(100), 8)


def in_a_while_loop():
    steps, found = 0, None
    while steps < 2:
        steps += 1
        if steps == 5:
            continue
        draw_batch(3)
        found = asked()
    return found


def before_the_loop():
    found, batch = None, draw_batch(3)
    for _ in range(2):
        found = asked() and batch
    return found


def for_a_support_set():
    found = None
    for batch in range(2):
        draw_support(batch)
        found = asked()
    return found


@pytest.mark.parametrize(
    ("loop", "told"),
    [
        (in_a_while_loop, True),
        (before_the_loop, False),
        (for_a_support_set, False),
    ],
)
def test_a_generator_is_told_that_the_code_of_a_step_makes(loop, told):
    assert loop() is told
