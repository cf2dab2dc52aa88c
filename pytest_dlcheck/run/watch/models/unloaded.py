"""Weights that were to be loaded and of which no name was the model's. No judgement."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from pytest_dlcheck.run.code.lines import line_of_the_loop
from pytest_dlcheck.trace import Row

MOST = 16
"""Loads that are told."""


@dataclass(frozen=True)
class _Load:
    module: weakref.ref[nn.Module]
    model: str
    keys: frozenset[int]
    given: str
    asked: str
    parameters: int
    line: str


class Unloaded:
    """Remembers such loads, until another one into the same module finds something."""

    def __init__(self) -> None:
        self._loads: list[_Load] = []

    def is_loaded(self, module: nn.Module, state: Mapping[str, object], missing: Sequence[str]) -> None:
        """A dictionary was loaded as far as it goes.

        Args:
            module: into which.
            state: what.
            missing: what the module has and the dictionary has not, whatever hooks have made of that.
        """
        own = dict(module.named_parameters())
        self._loads = [load for load in self._loads if load.module() is not module]
        given = [name for name, value in state.items() if isinstance(value, Tensor | Mapping)]
        if own and given and set(own) <= set(missing) and len(self._loads) < MOST:
            keys = frozenset(map(id, own.values()))
            name, line = type(module).__name__, line_of_the_loop()
            first = next(iter(own))
            self._loads.append(_Load(weakref.ref(module), name, keys, given[0], first, len(own), line))

    def rows(self, stepped: set[int], trained: set[int]) -> tuple[Row, ...]:
        """A row per load into a model of which these parameters are some, or none that anyone steps.

        Args:
            stepped: what an optimizer steps, by identity.
            trained: what any does.
        """
        return tuple(
            Row(
                model=load.model,
                parameters=load.parameters,
                given=load.given,
                asked=load.asked,
                line=load.line,
            )
            for load in self._loads
            if load.keys & stepped or not load.keys & trained
        )
