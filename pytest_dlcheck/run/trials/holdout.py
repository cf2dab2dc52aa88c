"""The ``holdout`` trial: how some batches of the first epoch are kept from the training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytest_dlcheck.run.contents.relation import relation
from pytest_dlcheck.run.errors import NotApplicableError, message_of
from pytest_dlcheck.run.passes.evaluation import crossing_of, recalibrated, score
from pytest_dlcheck.run.record import Record
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import copied, tensors
from pytest_dlcheck.trace import Row

SHARE = 0.25
"""Share of the batches that are held out."""
SAMPLES = 64
"""Samples that are held out at least, up to half of all."""
MOST_BATCHES = 256
MOST_BYTES = 1 << 28
"""What is kept of the data at most."""


class Holdout:
    """The batches of the first epoch in two parts: one to train on, over and over, one never seen.

    Args:
        rig: the recipe, before its first step.

    Raises:
        NotApplicableError: there are too few batches to keep any from the training.
    """

    def __init__(self, rig: Rig) -> None:
        batches = _first_epoch(rig)
        wanted = max(round(SHARE * len(batches)), -(-SAMPLES // (rig.batch_size or 1)))
        cut = len(batches) - min(wanted, len(batches) // 2)
        if cut == len(batches):
            raise NotApplicableError("one batch is all the data: none can be held out")
        self.seen, self.unseen = batches[:cut], batches[cut:]
        self._given = 0

    def __call__(self) -> Any:
        """The next batch to train on."""
        batch = self.seen[self._given % len(self.seen)]
        self._given += 1
        return copied(batch)


def told(rig: Rig, holdout: Holdout, record: Record) -> None:
    """Record how the model does, and what its data is like; what the user's code refuses is told so."""
    parts: dict[str, Callable[[], tuple[Row, ...]]] = {
        "holdout": lambda: held_out(rig, holdout),
        "relation": lambda: (relation(rig, [*holdout.seen, *holdout.unseen]),),
    }
    for name, find in parts.items():
        try:
            record.facts[name] = find()
        except Exception as error:  # noqa: BLE001  batches can be anything
            record.unobserved[name] = f"held-out batches could not be compared: {message_of(error)}"


def held_out(rig: Rig, holdout: Holdout) -> tuple[Row, ...]:
    """How the trained model does on the batches it never saw, and on as many that it was trained on.

    Raises:
        NotApplicableError: pairs of inputs and targets cannot be broken.
    """
    crossing = crossing_of(rig)
    count = len(holdout.unseen)
    data = {"unseen": holdout.unseen, "seen": holdout.seen[:count]}
    training = frozenset(name for name, m in rig.model.named_modules() if m.training)
    with rig.undisturbed(), recalibrated(rig, holdout.seen[:count], training):
        found = {name: score(rig, batches, crossing) for name, batches in data.items()}
    return tuple(result.row(data=name) for name, result in found.items())


def _first_epoch(rig: Rig) -> list[Any]:
    """Its batches, or as many as fit; the stream will still give them."""
    batches = rig.look_ahead(1)
    size = sum(t.numel() * t.element_size() for t in tensors(batches)) or 1
    most = min(MOST_BATCHES, max(2, MOST_BYTES // size))
    while len(batches) < most and not rig.stream.epoch_ended:
        longer = rig.look_ahead(len(batches) + 1)
        if len(longer) == len(batches):
            break
        batches = longer
    return batches
