"""Weights that are kept by reference and loaded later into the same memory. No judgement.

``state_dict()`` gives tensors that share their memory, and their count of changes, with the model's.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeGuard

from torch import Tensor, nn

from pytest_dlcheck.run.code.lines import line_of_the_loop
from pytest_dlcheck.run.watch.models.unloaded import Unloaded
from pytest_dlcheck.trace import Row

MOST = 8
"""Dictionaries that are remembered while they live, the first ones: each costs every step a look."""
TOLD = 16
"""Loads that are told."""


@dataclass
class _Taken:
    """A tensor of a dictionary: while it lives, the dictionary most likely does."""

    witness: weakref.ref[Tensor]
    version: int
    steps: int
    stepped: int
    """Its count of changes after the last step."""


@dataclass(frozen=True)
class _Load:
    model: str
    keys: frozenset[int]
    parameters: int
    steps: int
    line: str


class Restored:
    """Remembers what was taken, and looks at what is loaded."""

    def __init__(self) -> None:
        self.taken: list[_Taken] = []
        self._loads: list[_Load] = []
        self.unloaded = Unloaded()
        self.loads = 0
        """How often weights were loaded, into whatever model."""

    def is_taken(self, state: Mapping[str, object], steps: int) -> None:
        """A dictionary of weights was made.

        Args:
            state: which.
            steps: optimizer steps before it.
        """
        self.taken = [each for each in self.taken if each.witness() is not None]
        plain = [t for t in state.values() if _is_plain(t) and t.is_floating_point()]
        if plain and len(self.taken) < MOST:
            last = plain[-1]  # frozen layers, if any, come first
            changes = _changes(last)
            self.taken.append(_Taken(weakref.ref(last), changes, steps, changes))

    def stepped(self) -> None:
        """An optimizer has stepped."""
        for each in self.taken:
            if (witness := each.witness()) is not None:
                each.stepped = _changes(witness)

    def is_loaded(self, model: nn.Module, state: Mapping[str, object], steps: int) -> None:
        """A dictionary is about to be loaded: are these the model's own numbers, changed since?

        Not where something besides optimizers has changed them after the last step: an average may have
        been written through the dictionary.

        Args:
            model: into which.
            state: what.
            steps: optimizer steps before it.
        """
        self.loads += 1
        given = {id(tensor) for tensor in state.values()}
        known = next((each for each in self.taken if id(each.witness()) in given), None)
        witness = None if known is None else known.witness()
        if known is None or witness is None or steps <= known.steps or len(self._loads) >= TOLD:
            return
        changed = _changes(witness)
        if changed == known.version or changed != known.stepped:
            return
        own = dict(model.named_parameters(remove_duplicate=False))
        if own and all(_is_same_memory(state.get(name), p) for name, p in own.items()):
            keys = frozenset(map(id, own.values()))
            name, since = type(model).__name__, steps - known.steps
            self._loads.append(_Load(name, keys, len(own), since, line_of_the_loop()))

    def rows(self, stepped: set[int]) -> tuple[Row, ...]:
        """A row per load into a model of which these parameters, by identity, are some."""
        return tuple(
            Row(model=load.model, parameters=load.parameters, steps=load.steps, line=load.line)
            for load in self._loads
            if load.keys & stepped
        )


def _changes(tensor: Tensor) -> int:
    """How often it was changed in place, by itself or by what shares its memory."""
    return tensor._version  # noqa: SLF001  the PyTorch notes on autograd mechanics tell of it


def _is_plain(tensor: object) -> TypeGuard[Tensor]:
    """Whether it counts its changes; subclasses may hold their memory elsewhere."""
    return type(tensor) in {Tensor, nn.Parameter} and not tensor.is_inference()  # type: ignore[attr-defined]


def _is_same_memory(given: object, own: Tensor) -> bool:
    if not (_is_plain(given) and _is_plain(own)):
        return False
    if given.device != own.device or given.is_meta:
        return False
    place = own.data_ptr()
    return given.shape == own.shape and given.data_ptr() == place and (bool(place) or not own.numel())
