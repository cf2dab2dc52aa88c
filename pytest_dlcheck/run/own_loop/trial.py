"""Runs one trial of a recipe that has a loop of its own, watched, whatever happens on the way."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import nn

from pytest_dlcheck.recipe import Recipe, RecipeError, taken_by
from pytest_dlcheck.run.contents.relation import SAMPLES, relation
from pytest_dlcheck.run.errors import NotApplicableError, ending_of, let_go, message_of
from pytest_dlcheck.run.own_loop import substitutes
from pytest_dlcheck.run.own_loop.leash import Leash
from pytest_dlcheck.run.own_loop.still import NoData, inspect_still
from pytest_dlcheck.run.own_loop.telling import SEVERAL, tell, tell_of_nothing
from pytest_dlcheck.run.record import Record
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.crossing import Crossing
from pytest_dlcheck.run.trials import overfit
from pytest_dlcheck.run.trials.loop import Limits, Progress
from pytest_dlcheck.run.watch.telling import lost
from pytest_dlcheck.trace import Ending
from pytest_dlcheck.trial import Terms, Trial

PHASE = "your own loop"
_RUNS = {"train", "watch", "overfit", "blind"}
UNKNOWN_DATA = "train= does not take train_data, so that it cannot be given other data"


def readable(recipe: Recipe) -> Recipe:
    """The recipe, with something in the place of data that an own loop brings along."""
    if recipe.train is None or recipe.train_data is not None:
        return recipe
    return replace(recipe, train_data=NoData())


def run_own_loop(
    rig: Rig,
    trial: Trial,
    record: Record,
    wanted: frozenset[str],
    deadline: float | None,
    progress: Progress | None,
) -> Ending:
    """Run a trial.

    Args:
        rig: the recipe; its data are not read yet.
        trial: what to run.
        record: gets what was seen.
        wanted: the facts that are asked for.
        deadline: a ``time.perf_counter`` second to stop at, or None.
        progress: told ``(step, loss)`` now and then.

    Returns:
        How it ended; errors of the user's loop are told there.

    Raises:
        NotApplicableError: the recipe rules this trial out.
        RecipeError: nothing was trained, or another model.
    """
    tell_of_nothing(rig, record)
    if trial.kind == "inspect":
        begun = replace(trial, steps=Terms().steps)  # of which it takes none: it is ended before
        inspect_still(rig, _calling(rig, begun, _own_data(rig)), record, wanted)
        return Ending()
    data = _data(rig, trial)
    leash = Leash(Limits(trial.steps, trial.until, deadline=deadline), progress)
    known = list(rig.model.parameters())
    rig.phase = PHASE
    ending = _watched(rig, leash, _calling(rig, trial, data))
    if leash.fault:
        return lost(leash)
    if ending.kind == "completed":
        _require_training(rig.model, known, leash)
    ending = tell(rig, trial, leash, ending, record)
    if trial.kind in {"overfit", "blind"} and record.facts["recipe"][0].flag("several_objectives"):
        raise NotApplicableError(SEVERAL)
    if trial.kind == "blind" and ending.kind == "completed":
        _relate(rig, record)
    return ending


def _watched(rig: Rig, leash: Leash, call: Callable[[], None]) -> Ending:
    try:
        with leash.watching():
            call()
    except (Exception, SystemExit) as error:  # noqa: BLE001  the user's loop may raise anything
        ending = ending_of(error, rig.phase, leash.most_steps, rig.model)
        let_go(error)
        return ending
    return leash.ending or Ending()


def _calling(rig: Rig, trial: Trial, train_data: Any) -> Callable[[], None]:
    """The user's loop, given what its signature names."""
    recipe, train = rig.recipe, rig.recipe.train
    assert train is not None
    offered = {
        "model": rig.model,
        "train_data": train_data,
        "val_data": recipe.val_data,
        "steps": trial.steps,
        "device": str(rig.device),
        "seed": trial.seed,
    }
    taken = {name: offered[name] for name in taken_by(train) if offered[name] is not None}
    bound = inspect.BoundArguments(inspect.signature(train), taken)

    def call() -> None:
        result = train(*bound.args, **bound.kwargs)
        if inspect.isgenerator(result):
            for _ in result:  # a loop that yields its progress
                pass

    return call


def _own_data(rig: Rig) -> Any:
    data = rig.recipe.train_data
    return None if isinstance(data, NoData) else data


def _data(rig: Rig, trial: Trial) -> Any:
    """What the loop is trained on in this trial.

    Raises:
        NotApplicableError: it cannot be trained on that.
    """
    recipe = rig.recipe
    assert recipe.train is not None
    if trial.kind not in _RUNS or trial.optimizer != "recipe" or trial.learning_rate_scale != 1:
        raise NotApplicableError(f"train= is your own loop, which cannot be run as {trial}")
    if trial.kind in {"train", "watch"}:
        return _own_data(rig)
    if "train_data" not in taken_by(recipe.train):
        raise NotApplicableError(UNKNOWN_DATA)
    rig.open()
    source = recipe.train_data
    if trial.kind == "overfit":
        overfit.calm(rig)
        return substitutes.one_batch(source, overfit.small_batch(rig), trial.steps)
    return substitutes.others_inputs(source, Crossing(recipe, rig.batch), trial.seed)


def _relate(rig: Rig, record: Record) -> None:
    """Record what inputs and targets have to do with each other, as the recipe's data has them."""
    try:
        batches = rig.look_ahead(-(-SAMPLES // (rig.batch_size or 1)))
        record.facts["relation"] = (relation(rig, batches),)
    except Exception as error:  # noqa: BLE001  batches can be anything
        record.unobserved["relation"] = f"inputs and targets could not be compared: {message_of(error)}"


def _require_training(model: nn.Module, known: list[nn.Parameter], leash: Leash) -> None:
    """Refuse a loop that trained nothing, or something else than the recipe's model.

    Raises:
        RecipeError: says what it did.
    """
    if not leash.strands:
        if not leash.backwards:
            raise RecipeError(
                "nothing was trained: train= returned, and no optimizer stepped and no backward ran in "
                "this process (a training in another process cannot be seen from here)"
            )
        return
    own = {id(p) for p in (*known, *model.parameters())}
    if not any(strand.keys & own for strand in leash.strands):
        trained = ", ".join(f"{s.name} ({s.step} steps)" for s in leash.strands[:3])
        raise RecipeError(
            f"train= trained another model: {trained}, and none of the parameters of model= "
            f"({type(model).__name__}); train the very object that train= is given as model"
        )
