"""Models that are evaluated and that no optimizer steps: averages, teachers, references."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.probes.updates import sample_of
from pytest_dlcheck.trace import Row

MODELS = 8
"""Models that are followed."""
WITNESSES = 4
"""Parameters of each that are compared."""


@dataclass
class _Twin:
    model: weakref.ref[nn.Module]
    name: str
    shapes: list[torch.Size]
    before: list[Tensor]
    steps: int
    event: int = -1
    calls: int = 0
    validations: int = 0
    last: int = 0
    moved: bool = False


class Twins:
    """What is called in eval mode without gradients and is nobody's root.

    A validation of one is two calls in a row or more.
    """

    def __init__(self) -> None:
        self._known: dict[int, _Twin] = {}

    def is_evaluated(self, model: nn.Module, steps: int, event: int) -> None:
        """It is called.

        Args:
            model: which.
            steps: optimizer steps before it.
            event: a number that calls without gradients in a row share.
        """
        twin = self._known.get(id(model))
        if twin is None or twin.model() is not model:
            if len(self._known) >= MODELS:
                return
            twin = self._known[id(model)] = _begin(model, steps)
        twin.calls = twin.calls + 1 if twin.event == event else 1
        twin.event = event
        if twin.calls == 2:  # noqa: PLR2004  two in a row, as said above
            twin.validations += 1
            twin.last = steps
            samples = [sample_of(p) for p in _witnesses(model)]
            twin.moved |= any(not torch.equal(a, b) for a, b in zip(samples, twin.before, strict=False))

    def rows(self, shapes: Sequence[torch.Size], own: int) -> tuple[Row, ...]:
        """What was seen of those that look like a trained model.

        Args:
            shapes: of its parameters.
            own: validations of the trained model itself.
        """
        return tuple(
            Row(
                model=twin.name,
                validations=twin.validations,
                steps_between=twin.last - twin.steps,
                moved=twin.moved,
                own_validations=own,
            )
            for twin in self._known.values()
            if twin.shapes == list(shapes) and twin.validations
        )


def _begin(model: nn.Module, steps: int) -> _Twin:
    shapes = [p.shape for p in model.parameters()]
    before = [sample_of(p).clone() for p in _witnesses(model)]
    return _Twin(weakref.ref(model), type(model).__name__, shapes, before, steps)


def _witnesses(model: nn.Module) -> list[nn.Parameter]:
    every = [p for p in model.parameters() if p.numel()]
    return every[:: max(1, len(every) // WITNESSES)][:WITNESSES]
