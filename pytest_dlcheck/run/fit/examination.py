"""A trained model is measured on all of the validation data, in eval mode. Nothing is judged."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import torch

from pytest_dlcheck.run.fit.answers import Answers
from pytest_dlcheck.run.fit.tallies import Averaged, Tally, tally
from pytest_dlcheck.run.fit.validation import batches
from pytest_dlcheck.run.passes.evaluation import evaluated, evaluating
from pytest_dlcheck.run.record import Record
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import copied, to_device
from pytest_dlcheck.trace import Ending, Row

LOSS = "loss"
"""The name under which the recipe's own loss is measured too, where it can be asked."""


def examine(rig: Rig, record: Record, deadline: float | None = None) -> Ending:
    """Fill ``accuracy`` and ``metrics``: see :mod:`pytest_dlcheck.gating.readings`.

    Args:
        rig: the recipe, trained.
        record: gets the facts.
        deadline: a ``time.perf_counter`` second to stop at, or None.

    Returns:
        How it ended: completed, or out of time.

    Raises:
        RecipeError: the validation data is empty or of no known form.
    """
    rig.phase = "the metrics on val_data"
    recipe = rig.recipe
    by_itself = recipe.loss is None and recipe.training_step is None and recipe.train is None
    answers, tallies = Answers(recipe.loss, may_shift=by_itself), _tallies(rig)
    with rig.undisturbed(), evaluating(rig.model):
        for raw in batches(recipe.val_data):
            rig.current = to_device(raw, rig.device)
            _show(rig, rig.current, answers, tallies)
            if deadline is not None and perf_counter() > deadline:
                return Ending("timed_out", None, "its time limit was reached", rig.phase)
    rows = {one.name: one.row() for one in tallies}
    own = rows.pop("accuracy") if "accuracy" in rows else answers.row()
    record.facts["accuracy"] = (own,)
    record.facts["metrics"] = tuple(rows.values()) or (Row(problem="the recipe gives no metrics="),)
    return Ending()


def _tallies(rig: Rig) -> list[Tally]:
    recipe = rig.recipe
    metrics = dict(recipe.metrics)
    if recipe.loss is not None:
        metrics.setdefault(LOSS, recipe.loss)
    found = [tally(name, metric, rig.device, recipe.batch_dim) for name, metric in metrics.items()]
    return found if LOSS in metrics or not _loses_by_itself(rig) else [*found, OwnLoss(rig)]


class OwnLoss(Averaged):
    """The loss of a model that computes it itself, or of a training step."""

    def __init__(self, rig: Rig) -> None:
        super().__init__(LOSS, lambda batch, _: evaluated(rig, copied(batch))[0], None)


def _loses_by_itself(rig: Rig) -> bool:
    """Whether the loss is asked with the whole batch."""
    recipe = rig.recipe
    return recipe.train is None and recipe.loss is None and not rig.objective.is_generator


def _show(rig: Rig, batch: Any, answers: Answers, tallies: list[Tally]) -> None:
    size = rig.samples_in(batch)
    with torch.no_grad(), rig.autocast():
        outputs, targets = _outputs(rig, batch), rig.objective.targets(batch)
        answers.add(outputs, targets)
        for one in tallies:
            if isinstance(one, OwnLoss):
                one.add(batch, None, size)
            else:
                one.add(copied(outputs), copied(targets), size)


def _outputs(rig: Rig, batch: Any) -> Any:
    if rig.recipe.training_step is not None and rig.recipe.forward is None:
        given = evaluated(rig, copied(batch))[1]
        if given is not None:
            return given
    return rig.objective.call(batch)()
