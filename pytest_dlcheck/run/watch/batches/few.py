"""A few values of what a call is given, by which the same input is told again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.tensors.sampled import stride_over
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
        """What they are now; the stride is in no step with rows, or all would be at one edge."""
        flat = given.detach().reshape(-1)
        return cls(given.shape, flat[:: stride_over(len(flat), VALUES)].clone())

    def is_as(self, other: Few) -> bool:
        """Whether both are of the same input, most likely; waits for the device."""
        near = self.values.device == other.values.device and self.values.shape == other.values.shape
        return near and torch.equal(self.values, other.values)


def first_plain(arguments: Any) -> Tensor | None:
    """The first tensor of a call; None where there is none, or its values cannot be read."""
    given = next(iter(tensors(arguments)), None)
    return given if given is not None and _is_plain(given) else None


def _is_plain(tensor: Tensor) -> bool:
    plain = type(tensor) is Tensor and tensor.layout == torch.strided and not tensor.is_meta
    return plain and tensor.device.type in {"cpu", "cuda"} and tensor.numel() > 0
