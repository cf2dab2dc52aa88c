"""A few values of what a call is given, by which the same input is told again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.tensors.tree import tensors

VALUES = 64
"""Values of an input that tell it again, about; taken evenly from all of it."""


@dataclass(frozen=True)
class Few:
    """Of one input.

    Attributes:
        shape: its shape.
        values: some of its values, shape ``[n]``.
    """

    shape: torch.Size
    values: Tensor

    @classmethod
    def of(cls, given: Tensor) -> Few:
        """What they are now."""
        flat = given.detach().reshape(-1)
        return cls(given.shape, flat[:: _stride(len(flat))].clone())

    def is_as(self, other: Few) -> bool:
        """Whether both are of the same input, most likely; waits for the device."""
        near = self.values.device == other.values.device and self.values.shape == other.values.shape
        return near and torch.equal(self.values, other.values)


@lru_cache(maxsize=1024)
def _stride(size: int) -> int:
    """How far apart values are taken: in no step with rows, or all of them would be at one edge."""
    stride = max(1, size // VALUES)
    while math.gcd(stride, size) > 1:
        stride += 1
    return stride


def first_plain(arguments: Any) -> Tensor | None:
    """The first tensor of a call; None where there is none, or its values cannot be read."""
    given = next(iter(tensors(arguments)), None)
    return given if given is not None and _is_plain(given) else None


def _is_plain(tensor: Tensor) -> bool:
    plain = type(tensor) is Tensor and tensor.layout == torch.strided and not tensor.is_meta
    return plain and tensor.device.type in {"cpu", "cuda"} and tensor.numel() > 0
