"""Which tensors a model is evaluated on again and again: the loop keeps them."""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor

from pytest_dlcheck.run.tensors.tree import first_tensor

TENSORS = 16
"""Tensors that are remembered, the first ones."""


class Asked:
    """The first tensors of evaluations, and when they were evaluated first."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Tensor], int]] = {}

    def is_kept(self, arguments: Any, step: int) -> bool:
        """Whether the very same tensor was evaluated at an earlier step.

        Args:
            arguments: what the model is called on.
            step: of its optimizer.
        """
        given = first_tensor(arguments)
        if given is None:
            return False
        reference, first = self._known.get(id(given), (None, step))
        if reference is not None and reference() is given:
            return first < step
        if len(self._known) < TENSORS:
            self._known[id(given)] = weakref.ref(given), step
        return False
