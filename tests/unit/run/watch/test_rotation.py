"""Whether training and validation samples change places, and how schedules say how long they are."""

from dataclasses import dataclass, field
from functools import partial

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from pytest_dlcheck.run.watch.batches.eras import Eras
from pytest_dlcheck.run.watch.batches.rotation import rotation
from pytest_dlcheck.run.watch.models.visits import Visits
from pytest_dlcheck.run.watch.steps.schedules import Schedules


@dataclass(frozen=True)
class Batch:
    samples: list[float] = field(repr=False)
    step: int
    stream: int = 0
    era: int = 0

    def values(self):
        return self.samples


def folds(count, *, era=lambda fold: 0, size=120):
    """What is trained on and what is evaluated, fold after fold."""
    trained, evaluated = [], []
    for fold in range(count):
        kept = [float(i) for i in range(size) if i % count != fold]
        held = [float(i) for i in range(size) if i % count == fold]
        trained.append(Batch(kept, 10 * fold, era=era(fold)))
        evaluated.append(Batch(held, 10 * fold + 10, stream=fold, era=era(fold)))
    return trained, evaluated


@pytest.mark.parametrize(("count", "said"), [(3, 2), (4, 3), (5, 4)])
def test_folds_of_one_model_change_places(count, said):
    row = rotation(*folds(count))
    assert (row["rotations"], row["rotated_first"]) == (said, 20)
    assert row["returned"] == 1  # the first: later ones were trained on before


def test_two_halves_that_change_places_are_two_tasks_in_a_row():
    assert rotation(*folds(2))["rotations"] == 0


def test_parameters_that_are_set_in_between_begin_anew():
    assert rotation(*folds(4, era=lambda fold: fold))["rotations"] == 0


def test_a_split_that_stays_does_not_change_places():
    kept, held = [float(i) for i in range(100)], [float(i) for i in range(100, 130)]
    trained = [Batch(kept, 10 * epoch) for epoch in range(5)]
    evaluated = [Batch(held, 10 * epoch + 10, epoch) for epoch in range(5)]
    row = rotation([*trained], [*evaluated, *(Batch(kept, 10 * e + 10, 50 + e) for e in range(5))])
    assert (row["rotations"], row["returned"]) == (0, 0)


def test_nothing_evaluated_is_no_rotation():
    assert rotation(folds(3)[0], [])["rotations"] == 0


def test_an_era_ends_where_parameters_are_set_between_validation_and_training():
    model = nn.Linear(3, 3)
    eras = Eras(list(model.parameters()))
    eras.is_evaluated()
    eras.trains()
    assert eras.number == 0
    with torch.no_grad():
        model.weight.add_(1)  # a step
    eras.is_evaluated()
    model.reset_parameters()
    eras.trains()
    assert eras.number == 1


def rule(step, *, num_warmup_steps, num_training_steps):
    return min(1.0, step / num_warmup_steps) * (1 - step / num_training_steps)


@pytest.mark.parametrize(
    ("made", "length"),
    [
        (lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=70), 70),
        (lambda o: lr_scheduler.PolynomialLR(o, total_iters=30), 30),
        (
            lambda o: lr_scheduler.SequentialLR(
                o,
                [lr_scheduler.LinearLR(o, 0.1, total_iters=5), lr_scheduler.CosineAnnealingLR(o, 45)],
                milestones=[5],
            ),
            50,
        ),
        (
            lambda o: lr_scheduler.LambdaLR(o, partial(rule, num_warmup_steps=5, num_training_steps=60)),
            60,
        ),
        (lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 0.9**epoch), None),
        (lambda o: lr_scheduler.ExponentialLR(o, 0.9), None),
    ],
)
def test_a_schedule_says_for_how_many_steps_it_is_made(made, length):
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    schedules, scheduler = Schedules(), made(optimizer)
    schedules.steps(scheduler, pending=False)
    assert schedules.row()["horizon"] == length


@pytest.mark.parametrize(
    ("shape", "said"),
    [((5, 1, 8, 8), True), ((5, 3, 8, 8), True), ((5, 8), False), ((5, 4, 4, 8), False)],
)
def test_a_linear_layer_that_is_called_on_images_is_told(shape, said):
    model, visits = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2)), Visits()
    visits.begins(with_gradients=True)
    batch = torch.rand(shape)
    visits.add(model[0], (batch,))
    visits.add(model[2], (model[0](batch),))
    told = visits.unflattened(model)
    assert told == (f"0 is called on images {list(shape)}" if said else "")
