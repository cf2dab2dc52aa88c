"""Calls in train mode on samples that no loader gave: the same again, several answers, trained on."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from pytest_dlcheck import watch

POOL = torch.randn(400, 16, generator=torch.Generator().manual_seed(3))
TRAINED, HELD = POOL[:200], POOL[300:]


def cut(after, *, samples=TRAINED, epochs=4):
    """What is told of a model with dropout; ``after(model)`` runs without gradients after an epoch."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.Dropout(0.2), nn.Linear(32, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with watch() as run:
        for _ in range(epochs):
            for i in torch.randperm(len(samples)).split(40):
                optimizer.zero_grad()
                model(samples[i]).square().mean().backward()
                optimizer.step()
            with torch.no_grad():
                after(model)
    return run.trace.row("hand_cut")


def test_the_same_samples_again():
    row = cut(lambda model: model(HELD))
    assert (row.integer("rows"), row.integer("again"), row.integer("repeats")) == (4, 3, 0)
    assert (row.integer("samples"), row.integer("distinct"), row.integer("trained")) == (100, 100, 0)
    assert row.integer("trained_again") > 500


def test_in_parts_they_are_the_same_where_first_and_last_are():
    assert cut(lambda model: [model(part) for part in HELD.split(30)]).integer("again") == 3


def test_others_each_time():
    assert cut(lambda model: model(POOL[torch.randperm(400)[:100]])).integer("again") == 0


def test_rows_that_end_elsewhere_are_others():
    ends = iter(range(60, 100, 10))
    assert cut(lambda model: [model(HELD[:50]), model(HELD[: next(ends)])]).integer("again") == 0


def test_several_answers_to_the_same_samples():
    assert cut(lambda model: [model(HELD) for _ in range(5)]).integer("repeats") == 16


def test_samples_that_are_trained_on():
    row = cut(lambda model: model(TRAINED))
    assert row.integer("trained") == row.integer("distinct") == 200


def test_samples_that_are_drawn_never_come_again():
    class Drawn:
        def __len__(self):
            return 200

        def __getitem__(self, i):
            return torch.randn(len(i), 16)

    assert cut(lambda model: model(HELD), samples=Drawn()).integer("trained_again") == 0


def test_calls_in_eval_mode_and_at_every_step_are_left_out():
    def evaluated(model):
        model.eval()(HELD)
        model.train()

    assert cut(evaluated).integer("rows") == 0
    assert cut(lambda model: model(HELD), samples=TRAINED[:40], epochs=20).integer("rows") == 1


def test_what_a_loader_gives_is_left_out():
    loader = DataLoader(TensorDataset(HELD), 50)
    assert cut(lambda model: [model(x) for (x,) in loader]).integer("rows") == 0
