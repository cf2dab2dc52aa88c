"""Which steps draw the same numbers, and what listening to seeds costs where none comes again."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from pytest_dlcheck.run.watch.steps.seeds import MOST, Seeds
from pytest_dlcheck.run.watch.watcher import Watcher

SEED = "torch.manual_seed"


def a_step(seeds, number, seed=0, *, draws=1, key=1):
    """What a watcher tells of a step: seeded, drawn, propagated, stepped."""
    torch.manual_seed(seed)
    seeds.seeded(SEED, seed)
    torch.rand(draws)
    seeds.backward_begins()
    seeds.stepped(key, number)


def told(seeds, steps, key=1):
    return [(row.integer("alike"), row.integer("in_a_row")) for row in seeds.rows(key, steps)]


def test_steps_that_draw_from_one_seed_are_counted():
    seeds = Seeds()
    for step in range(1, 11):
        a_step(seeds, step)
    (row,) = seeds.rows(1, 10)
    assert (row.text("call"), row.text("line").split(":")[0]) == (
        "torch.manual_seed(0)",
        "test_seeds.py",
    )
    assert (row.integer("alike"), row.integer("in_a_row"), row.flag("within")) == (8, 9, False)
    assert told(seeds, 10, key=2) == []


def test_how_many_are_drawn_does_not_matter():
    seeds = Seeds()
    for step in range(1, 11):
        a_step(seeds, step, draws=step)
    assert told(seeds, 10) == [(8, 9)]


@pytest.mark.parametrize("seed", [lambda step: step, lambda step: step // 2, lambda step: step % 2])
def test_seeds_that_change_are_not(seed):
    seeds = Seeds()
    for step in range(1, 21):
        a_step(seeds, step, seed(step))
    assert told(seeds, 20) == []


def test_a_step_without_a_seed_ends_a_row():
    seeds = Seeds()
    for step in range(1, 21):
        if step % 5:
            a_step(seeds, step)
        else:
            seeds.backward_begins()
            seeds.stepped(1, step)
    assert told(seeds, 20)[0][1] == 4


def test_seeds_without_draws_are_not():
    seeds = Seeds()
    for step in range(1, 11):
        a_step(seeds, step, draws=0)
    assert told(seeds, 10) == []


def test_a_state_that_is_put_back_ends_what_was_seeded():
    seeds = Seeds()
    for step in range(1, 11):
        seeds.seeded(SEED, 0)
        seeds.seeded(SEED, None)
        assert not seeds.is_open
        torch.rand(1)
        seeds.backward_begins()
        seeds.stepped(1, step)
    assert told(seeds, 10) == []


def test_several_seedings_that_are_a_part_of_one_step_may_be_meant():
    seeds = Seeds()
    for step in range(1, 11):
        for _ in range(2):
            torch.manual_seed(0)
            seeds.seeded(SEED, 0)
            torch.rand(1)
            seeds.backward_begins()
        seeds.stepped(1, step)
    assert told(seeds, 10) == []


@pytest.mark.parametrize(("draws", "said"), [(False, []), (True, [(8, 9)])])
def test_what_a_loader_or_an_evaluation_draws_is_no_part_of_a_step(draws, said):
    for of in ("loader", "evaluation"):
        seeds = Seeds()
        for step in range(1, 11):
            torch.manual_seed(0)
            seeds.seeded(SEED, 0)
            if of == "evaluation":
                seeds.called(to_train=False)
            torch.rand(1)
            if of == "loader":
                seeds.batch_is_read()
            seeds.called(to_train=True)
            if draws:
                torch.rand(1)
            seeds.backward_begins()
            seeds.stepped(1, step)
        assert told(seeds, 10) == said


def test_in_the_end_no_more_are_listened_to():
    seeds = Seeds()
    for step in range(1, MOST + 100):
        a_step(seeds, step)
    assert not seeds.is_open
    (row,) = seeds.rows(1, 10 * MOST)
    assert row.integer("alike") >= row.integer("steps") - 2  # of the steps that were heard


@pytest.mark.parametrize("seed", [object(), "text", None, [1, 2]])
def test_odd_seeds_are_left_alone(seed):
    assert not Seeds().seeded("random.seed", seed)


# -- in a watched loop ----------------------------------------------------------------------------


def train(seed, *, draw=lambda: torch.rand(1), steps=60, model=None, device="cpu"):
    model = model or nn.Linear(4, 1).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for step in range(steps):
        seed(step)
        x = torch.ones(2, 4, device=device) * (step + float(draw()))
        optimizer.zero_grad()
        model(x).mean().backward()
        optimizer.step()


def rows_of(loop):
    watcher = Watcher()
    with watcher.watching():
        loop()
    assert not watcher.fault
    return watcher.traces()[0][1].rows("reseeded")


@pytest.mark.parametrize(
    ("call", "seed", "draw"),
    [
        ("torch.manual_seed(1)", lambda _: torch.manual_seed(1), lambda: torch.rand(1)),
        ("torch.manual_seed(2)", lambda _: torch.random.manual_seed(seed=2), lambda: torch.rand(1)),
        ("random.seed(3)", lambda _: random.seed(3), random.random),
        ("numpy.random.seed(4)", lambda _: np.random.seed(4), np.random.rand),  # noqa: NPY002
    ],
)
def test_every_global_generator_is_heard(call, seed, draw):
    (row,) = rows_of(lambda: train(seed, draw=draw))
    assert (row.text("call"), row.integer("alike"), row.integer("in_a_row")) == (call, 58, 59)


def test_seeds_that_differ_do_not_wake_the_watch(monkeypatch):
    looked = []
    monkeypatch.setattr(Watcher, "wake", lambda self: looked.append(self) or waking(self))
    rows_of(lambda: train(lambda _: None, steps=100))
    alone = len(looked)
    looked.clear()
    rows_of(lambda: train(torch.manual_seed, steps=100))
    assert len(looked) == alone


waking = Watcher.wake


def test_seeds_of_a_forward_are_told_apart():
    class Seeded(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 1)

        def forward(self, x):
            torch.manual_seed(1)
            return self.layer(x * torch.rand(4))

    (row,) = rows_of(lambda: train(lambda _: None, model=Seeded()))
    assert row.flag("within")


def test_everything_is_as_before_afterwards():
    places = torch.manual_seed, torch.random.manual_seed, torch.set_rng_state, torch.seed
    others = random.seed, random.setstate, np.random.seed, np.random.set_state
    rows_of(lambda: train(torch.manual_seed, steps=3))
    assert places == (torch.manual_seed, torch.random.manual_seed, torch.set_rng_state, torch.seed)
    assert others == (random.seed, random.setstate, np.random.seed, np.random.set_state)


class Ones(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return torch.rand(4)


def test_workers_seed_their_own():
    def loop():
        model = nn.Linear(4, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for _ in range(2):
            for x in DataLoader(Ones(), 1, num_workers=2):
                optimizer.zero_grad()
                model(x).mean().backward()
                optimizer.step()

    assert rows_of(loop) == ()


@pytest.mark.filterwarnings("ignore")
def test_code_that_seeds_may_be_compiled():
    @torch.compile(backend="eager")
    def draw():
        torch.manual_seed(1)
        return torch.rand(1)

    rows_of(lambda: train(lambda _: None, draw=draw, steps=4))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_draws_of_a_gpu_are_seen():
    def draw():
        return torch.rand(1, device="cuda")

    (row,) = rows_of(lambda: train(lambda _: torch.manual_seed(1), draw=draw, device="cuda"))
    assert row.integer("alike") == 58
