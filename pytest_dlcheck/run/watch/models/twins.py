"""Models that are evaluated and that no optimizer steps: averages, teachers, references."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pytest_dlcheck.run.watch.models.following import Sample, has_moved
from pytest_dlcheck.trace import Row

MODELS = 8
"""Models that are followed."""


@dataclass
class _Twin:
    model: weakref.ref[nn.Module]
    name: str
    shapes: list[torch.Size]
    before: Sample
    steps: int
    trained: weakref.ref[nn.Module] | None = None
    then: Sample | None = None
    """What it may follow, and what that was at the same time as it."""
    event: int = -1
    calls: int = 0
    validations: int = 0
    last: int = 0
    moved: bool = False
    since: int = 0
    unset: int = 0
    """Its batch norms with the statistics of the beginning, where it has moved, and all are so."""


class Twins:
    """What is called in eval mode without gradients and is nobody's root.

    A validation of one is two calls in a row or more.
    """

    def __init__(self) -> None:
        self._known: dict[int, _Twin] = {}

    def is_evaluated(
        self, model: nn.Module, steps: int, event: int, trained: Sequence[nn.Module]
    ) -> Sequence[torch.Size]:
        """It is called; returns the shapes of its parameters, none before it has moved.

        Args:
            model: which.
            steps: optimizer steps before it.
            event: a number that calls without gradients in a row share.
            trained: the models that are.
        """
        twin = self._known.get(id(model))
        if twin is None or twin.model() is not model:
            if len(self._known) >= MODELS:
                return ()
            twin = self._known[id(model)] = _begin(model, steps, event, trained)
        twin.calls = twin.calls + 1 if twin.event == event else 1
        twin.event = event
        if twin.calls == 2:  # noqa: PLR2004  two in a row, as said above
            twin.validations += 1
            twin.last = steps
            own = twin.trained() if twin.trained is not None else None
            twin.moved |= has_moved(model, twin.before, own, twin.then, steps - twin.steps)
            twin.unset = _unset(model, own) if twin.moved and own is not None else 0
        return twin.shapes if twin.moved else ()

    def rows(self, shapes: Sequence[torch.Size], own: int, until: int) -> tuple[Row, ...]:
        """What was seen of those that look like a trained model.

        Args:
            shapes: of its parameters.
            own: validations of the trained model itself.
            until: the number of the last event of its training: what comes later is another story.
        """
        return tuple(
            Row(
                model=twin.name,
                validations=twin.validations,
                steps_between=twin.last - twin.steps,
                moved=twin.moved,
                own_validations=own,
                unset_statistics=twin.unset,
            )
            for twin in self._known.values()
            if twin.shapes == list(shapes) and twin.validations and twin.since < until
        )


def _begin(model: nn.Module, steps: int, event: int, trained: Sequence[nn.Module]) -> _Twin:
    shapes = [p.shape for p in model.parameters()]
    twin = _Twin(weakref.ref(model), type(model).__name__, shapes, Sample.of(model), steps, since=event)
    for each in trained:
        if [p.shape for p in each.parameters()] == shapes:
            twin.trained, twin.then = weakref.ref(each), Sample.of(each)
            break
    return twin


def _unset(model: nn.Module, trained: nn.Module) -> int:
    """A model's batch norms, where all have the statistics of the beginning, and none of the trained."""
    own, its = _batch_norms(model), _batch_norms(trained)
    are_set = bool(its) and not any(map(_is_as_made, its))
    return len(own) if are_set and own and all(map(_is_as_made, own)) else 0


def _batch_norms(model: nn.Module) -> list[_BatchNorm]:
    return [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]


def _is_as_made(norm: _BatchNorm) -> bool:
    mean, variance = norm.running_mean, norm.running_var
    return mean is None or variance is None or not (bool(mean.any()) or bool((variance != 1).any()))
