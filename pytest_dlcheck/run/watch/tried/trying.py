"""Where a watch ends, copies of the trained models are tried on what these were called on.

Whether samples of a batch meet, places of a sequence see those after them, attention hides padding or
all the rest, and the steps of a cell are thrown away, as the experiments of a recipe find it out; and
whether images are turned within. The models themselves are not called. No judgement.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import distributed, nn

from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.run.contents.alignment import AXES
from pytest_dlcheck.run.experiment import Experiment
from pytest_dlcheck.run.experiments.attended import Attended, padded_sequences
from pytest_dlcheck.run.experiments.flow import Flow
from pytest_dlcheck.run.experiments.future import Future
from pytest_dlcheck.run.experiments.neighbours import Neighbours
from pytest_dlcheck.run.experiments.recurrence import Recurrence
from pytest_dlcheck.run.inspection import conduct
from pytest_dlcheck.run.modules.as_called import forward_of, nest_of
from pytest_dlcheck.run.modules.cells import cells_of
from pytest_dlcheck.run.record import Record
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import batch_size, map_tensors, named_tensors, take, tensors
from pytest_dlcheck.run.watch.tried.alignment import uses_in_place
from pytest_dlcheck.run.watch.tried.codes import draws, is_narrow
from pytest_dlcheck.run.watch.tried.cuts_within import as_a_loss, may_be_cut
from pytest_dlcheck.run.watch.tried.first_calls import Call
from pytest_dlcheck.run.watch.tried.row_by_row import reads_rows_alone
from pytest_dlcheck.run.watch.tried.standing_copies import may_be_tried, standing_copy
from pytest_dlcheck.run.watch.tried.turned_within import turned_within
from pytest_dlcheck.run.world.seeding import same_draws
from pytest_dlcheck.trace import Row

SEED = 0
SAMPLES = 7
"""Samples that a model is tried on, at most: as many as the experiments take."""
WORK = 1 << 32
"""Parameters times numbers of these samples (count) above which a model is not tried: some seconds."""


def tried(model: nn.Module, call: Call | None) -> dict[str, tuple[Row, ...]]:
    """The facts ``meetings``, ``foresight``, ``copying``, ``attended``, ``recurrence``, if it is tried.

    Args:
        model: as it is where the watch ends.
        call: what it was called on.
    """
    if call is None or (distributed.is_available() and distributed.is_initialized()):
        return {}
    with same_draws(SEED), torch.enable_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if not may_be_tried(model):
                return {}
            return {
                "meetings": tuple(_meetings(model, call)),
                "foresight": tuple(_foresight(model, call)),
                "copying": tuple(_copying(model, call)),
                "cut_within": tuple(_cut_within(model, call)),
                "turned_within": tuple(_turned_within(model, call)),
                "row_by_row": tuple(_row_by_row(model, call)),
                **_attended(model, call),
                **_thrown_away(model, call),
            }
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001  a model may end a test or a process, not for us
            return {}


def _meetings(model: nn.Module, call: Call) -> Iterator[Row]:
    if not (call.from_loader or call.has_a_target_each):
        return
    first = tensors((call.args, call.kwargs))[0]
    for row in _found(Neighbours(), _rig(model, call, batch_dim=0)):
        yield Row(row, given=str(list(first.shape)), from_loader=call.from_loader)


def _cut_within(model: nn.Module, call: Call) -> Iterator[Row]:
    if may_be_cut(model):
        yield from _found(Flow(), _rig(model, call, batch_dim=0, asks_for_a_loss=True))


def _turned_within(model: nn.Module, call: Call) -> Iterator[Row]:
    given = tensors((call.args, call.kwargs))
    rig = _rig(model, call, batch_dim=0) if len(given) == 1 and given[0].dim() == AXES else None
    if rig is not None:
        with suppress(Exception), rig.undisturbed(training=False), torch.no_grad():
            yield from tuple(turned_within(rig))


def _row_by_row(model: nn.Module, call: Call) -> Iterator[Row]:
    given = tensors((call.args, call.kwargs))
    rig = _rig(model, call, batch_dim=0) if len(given) == 1 and call.redraws else None
    if rig is not None:
        with suppress(Exception), rig.undisturbed(training=False), torch.no_grad():
            if reads_rows_alone(rig):
                yield Row(given=str(list(given[0].shape)))


def _foresight(model: nn.Module, call: Call) -> Iterator[Row]:
    if call.steps is None:
        return
    still = _rig(model, call, batch_dim=1 - call.steps, causal=call.steps)
    for rig, row in _seen(Future(), still, call.timed):
        yield Row(
            row,
            in_place=_is_in_place(rig, row, call.steps),
            draws=_asked(rig, partial(draws, rig), training=True),
            narrow=_asked(rig, partial(is_narrow, rig, call.timed, call.steps), training=False),
        )


def _asked(rig: Rig, question: Callable[[], bool | None], *, training: bool) -> bool | None:
    """The answer of a model in one of its modes; None where it gives none."""
    with suppress(Exception), rig.undisturbed(training=training):
        return question()
    return None


def _copying(model: nn.Module, call: Call) -> Iterator[Row]:
    """What the places of a sequence see that is its own target, along either axis."""
    for axis in (1, 0) if call.copied is not None else ():
        rig = _rig(model, call, batch_dim=1 - axis, causal=axis)
        for _, row in _seen(Future(asks_all=True), rig, call.copied or 0):
            yield Row(row, axis=axis)


def _attended(model: nn.Module, call: Call) -> dict[str, tuple[Row, ...]]:
    """What attention hides, with a row for what a recipe is asked besides; none where nothing hides."""
    given = tensors((call.args, call.kwargs))
    if not any(True for tensor in given for _ in padded_sequences("", tensor)):
        return {}
    rows = _found(Attended(), _rig(model, call, batch_dim=0))
    return {"attended": rows, "usage": (Row(part="watched"),)} if rows else {}


def _thrown_away(model: nn.Module, call: Call) -> dict[str, tuple[Row, ...]]:
    """Cells whose steps come to nothing, with a row for what a recipe is asked besides; none if none."""
    if not any(True for _ in cells_of(model)):
        return {}
    found = _found(Recurrence(), _rig(model, call, batch_dim=0))
    rows = tuple(row for row in found if row.integer("thrown_away"))
    return {"recurrence": rows, "usage": (Row(part="watched"),)} if rows else {}


def _found(experiment: Experiment, rig: Rig | None) -> tuple[Row, ...]:
    """What an experiment finds; nothing where it cannot be made."""
    record = Record()
    if rig is not None:
        conduct(experiment, rig, record)
    return tuple(record.facts.get(experiment.fact, ()))


def _seen(experiment: Future, rig: Rig | None, number: int) -> Iterator[tuple[Rig, Row]]:
    """What steps see of later ones of the input of this number."""
    if rig is not None:
        names = [name for name, _ in named_tensors(rig.call.inputs, "input")]
        for row in _found(experiment, rig):
            if row.text("input") == names[number]:
                yield rig, row


def _is_in_place(rig: Rig, row: Row, axis: int) -> bool | None:
    """Whether what the culprit gives at a place is used at that place; None where it is not known."""
    if row.get("culprit") is None:
        return None
    with suppress(Exception), rig.undisturbed(training=False), torch.no_grad():
        return uses_in_place(rig, row, axis)
    return None


def _rig(
    model: nn.Module,
    call: Call,
    batch_dim: int,
    causal: int | None = None,
    *,
    asks_for_a_loss: bool = False,
) -> Rig | None:
    given: Any = nest_of(call.args, call.kwargs)
    size = batch_size(given, batch_dim)
    numbers = sum(t.numel() for t in tensors(given)) * min(1.0, SAMPLES / (size or 1))
    if numbers * sum(p.numel() for p in model.parameters()) > WORK:
        return None
    still = standing_copy(model)
    if still is None:
        return None
    place = next((p.device for p in still.parameters()), torch.device("cpu"))
    if size is not None and size > SAMPLES:
        with suppress(Exception):
            given = take(given, torch.linspace(0, size - 1, SAMPLES).round().long(), batch_dim)
    forward = forward_of(call.args, call.kwargs)
    recipe = Recipe(
        model=still,
        train_data=[map_tensors(given, lambda tensor: tensor.to(place))],
        forward=None if asks_for_a_loss else forward,
        training_step=as_a_loss(forward) if asks_for_a_loss else None,
        batch_dim=batch_dim,
        causal=causal,
    )
    rig = Rig(recipe, str(place), SEED)
    rig.open()
    return rig
