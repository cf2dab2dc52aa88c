"""A fingerprint of every batch, to tell whether the data change from step to step."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.probe import Probe, ScalarBuffer, number_of
from pytest_dlcheck.run.sampling import GRADIENTS, Due
from pytest_dlcheck.run.scene import Scene
from pytest_dlcheck.run.tensors.sampled import reals_of, sample_of, stride_over
from pytest_dlcheck.run.tensors.tree import first_tensor
from pytest_dlcheck.trace import Series

SMALL = 1 << 12
"""Numbers of a batch up to which it is copied, and weighed later with others: that costs less."""


class BatchProbe(Probe[Scene]):
    """Fills ``batch_fingerprint``: a number that equal batches share, on sampled steps."""

    channels = frozenset({"batch_fingerprint"})

    def __init__(self) -> None:
        self._buffer, self._is_due = ScalarBuffer(), Due(GRADIENTS)
        self._copies: list[tuple[int, Tensor]] = []
        """Not weighed yet."""

    def batch(self, step: int, batch: Any) -> None:
        """Weigh a sample of the first tensor."""
        found = first_tensor(batch) if self._is_due(step) else None
        if found is not None and not found.is_nested:  # which has no memory to stride over
            self._weigh()
            self._buffer.append(step, number_of(fingerprint(found)))

    def copied(self, step: int, copy: Tensor) -> None:
        """The same of a copy of the first tensor, which nobody writes to."""
        if self._is_due(step):
            self._copies.append((step, copy))

    def flush(self) -> None:
        """Read back."""
        self._weigh()
        self._buffer.flush()

    def _weigh(self) -> None:
        alike: dict[tuple[torch.device, torch.dtype, int], list[Tensor]] = {}
        for _, copy in self._copies:
            alike.setdefault(_kind(copy), []).append(copy.view(-1))
        found = {kind: iter(_fingerprints(torch.stack(some))) for kind, some in alike.items()}
        for step, copy in self._copies:
            self._buffer.append(step, number_of(next(found[_kind(copy)])))
        self._copies.clear()

    def filled(self) -> Mapping[str, Series]:
        """The fingerprints."""
        self._weigh()
        return {"batch_fingerprint": self._buffer.series()}


def copy_of(batch: Any) -> Tensor | None:
    """A copy of its first tensor, of the same fingerprint; None where that is not small and plain."""
    found = first_tensor(batch)
    if found is None or type(found) is not Tensor or found.layout != torch.strided or found.is_nested:
        return None
    if not 0 < found.numel() <= SMALL or not found.is_contiguous() or found.is_complex():
        return None
    return found.detach().clone()


def fingerprint(tensor: Tensor) -> Tensor:
    """A weighted sum over a strided sample: a float32 of shape ``[]`` that equal tensors share."""
    sample = reals_of(sample_of(tensor))
    return _weighed(sample, _weights(sample.numel(), sample.device))


def _fingerprints(rows: Tensor) -> list[Tensor]:
    """The same of each row of a contiguous matrix."""
    samples = rows[:, :: stride_over(rows.shape[1])].to(torch.float32)
    weights = _weights(samples.shape[1], samples.device)
    return [_weighed(sample, weights) for sample in samples.unbind()]


def _weighed(sample: Tensor, weights: Tensor) -> Tensor:
    """Their product, of a copy: the rounding hangs on where in memory numbers begin."""
    return torch.dot(sample.clone(), weights)


def _kind(copy: Tensor) -> tuple[torch.device, torch.dtype, int]:
    return copy.device, copy.dtype, copy.numel()


@lru_cache(maxsize=64)
def _weights(count: int, device: torch.device) -> Tensor:
    return torch.arange(1, count + 1, device=device).to(torch.float32).sin()
