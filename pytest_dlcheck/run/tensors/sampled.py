"""A bounded sample of a tensor's numbers, as they lie in memory. Nothing is kept, nothing is judged."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

SAMPLE = 1024
"""Elements read of each parameter: an L2 norm then is off by about 1 / sqrt(2 * 1024) = 2 %."""


def sample_of(parameter: Tensor) -> Tensor:
    """Up to about 1,024 elements, evenly strided over its memory; shares memory where it can.

    The stride has no common divisor with the number of elements, so that it does not keep to a few
    channels.
    """
    return strided(parameter, stride_over(parameter.numel()))


def reals_of(tensor: Tensor) -> Tensor:
    """Its numbers end to end, in single precision: of complex ones both parts, as torch warns of one."""
    parts = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
    return parts.flatten().to(torch.float32)


def strided(parameter: Tensor, stride: int) -> Tensor:
    """Every so many of its elements, in the order in which they lie in memory, of shape ``[n]``."""
    flat = parameter.detach()
    if not flat.is_contiguous() and not torch.ops.aten.is_non_overlapping_and_dense(flat):
        flat = flat.reshape(-1)
    return flat.as_strided((-(-flat.numel() // stride),), (stride,))


@lru_cache(maxsize=1024)
def stride_over(numel: int, most: int = SAMPLE) -> int:
    """The stride of a sample of so many elements, about ``most`` of them."""
    stride = max(1, numel // most)
    while math.gcd(stride, numel) > 1:
        stride += 1
    return stride
