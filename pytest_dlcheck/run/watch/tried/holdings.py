"""What a model's modules hold that a copy shares, and the classes of what it does not."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from types import BuiltinFunctionType, FunctionType
from typing import Any

import torch
from torch import nn

from pytest_dlcheck.run.watch.tried.purity import is_still, package_of


class Holdings:
    """All within reach of a model's attributes.

    Attributes:
        shared: functions and classes, which are not copied.
        classes: of which modules and settings are.
        is_odd: whether there are tensors of the user's own kind, or without a shape as yet.
    """

    def __init__(self, model: nn.Module) -> None:
        self.shared: list[Any] = []
        self.classes: set[type] = set()
        self.is_odd = False
        self._seen: dict[int, object] = {}
        self._add(model)

    def _add(self, value: Any) -> None:
        if is_still(value) or id(value) in self._seen:
            return
        self._seen[id(value)] = value
        parts: Iterable[Any] = ()
        if isinstance(value, torch.Tensor):
            self.is_odd |= package_of(type(value)) != "torch" or nn.parameter.is_lazy(value)
        elif isinstance(value, (type, FunctionType, BuiltinFunctionType, enum.Enum)):
            self.shared.append(value)
        elif isinstance(value, dict):
            parts = value.values()
        elif isinstance(value, (list, tuple, set, frozenset)):
            parts = value
        elif hasattr(value, "__dict__"):
            self.classes.add(type(value))
            parts = vars(value).values()
        for part in parts:
            self._add(part)
