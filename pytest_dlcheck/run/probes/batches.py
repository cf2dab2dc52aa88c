"""A fingerprint of every batch, to tell whether the data change from step to step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.probe import Probe, ScalarBuffer
from pytest_dlcheck.run.probes.updates import sample_of
from pytest_dlcheck.run.sampling import GRADIENTS
from pytest_dlcheck.run.tree import tensors
from pytest_dlcheck.trace import Series


class BatchProbe(Probe):
    """Fills ``batch_fingerprint``: a number that equal batches share, on sampled steps."""

    channels = frozenset({"batch_fingerprint"})

    def __init__(self) -> None:
        self._buffer = ScalarBuffer()

    def batch(self, step: int, batch: Any) -> None:
        """Weigh a sample of the first tensor."""
        if step in GRADIENTS and (found := tensors(batch)):
            self._buffer.append(step, fingerprint(found[0]))

    def flush(self) -> None:
        """Read back."""
        self._buffer.flush()

    def filled(self) -> Mapping[str, Series]:
        """The fingerprints."""
        return {"batch_fingerprint": self._buffer.series()}


def fingerprint(tensor: Tensor) -> Tensor:
    """A weighted sum over a strided sample: a float32 of shape ``[]`` that equal tensors share."""
    sample = sample_of(tensor).to(torch.float32)
    weights = torch.arange(1, sample.numel() + 1, device=sample.device).to(torch.float32)
    return torch.dot(sample, weights.sin())
