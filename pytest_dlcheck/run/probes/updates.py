"""How far each step moves each parameter, on sampled steps, from a strided sample of its elements."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.probe import Probe, TableBuffer
from pytest_dlcheck.run.probes.gradients import norms
from pytest_dlcheck.run.sampling import EVERY, TENSORS, Due
from pytest_dlcheck.run.scene import Scene
from pytest_dlcheck.trace import Matrix
from pytest_dlcheck.trial import Trial

SAMPLE = 1024
"""Elements read of each parameter: an L2 norm then is off by about 1 / sqrt(2 * 1024) = 2 %."""


class UpdateProbe(Probe[Scene]):
    """Fills ``update_norm`` and ``parameter_norm`` (before the step), both L2, scaled to the whole."""

    channels = frozenset({"update_norm", "parameter_norm"})

    def begin(self, scene: Scene, trial: Trial) -> None:
        """Lay out the samples."""
        self._is_due = Due(EVERY if trial.dense else TENSORS)
        self._names = {id(p): name for name, p in scene.parameters.items()}
        self._updates = TableBuffer(list(scene.parameters))
        self._sizes = TableBuffer(list(scene.parameters))
        self._before: dict[int, list[_Sampled]] = {}

    def before_update(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Keep a sample of each parameter."""
        if not self._is_due(step):
            return
        alike: dict[tuple[torch.device, torch.dtype], dict[str, nn.Parameter]] = {}
        for group in optimizer.param_groups:
            for p in group["params"]:
                if id(p) in self._names and p.requires_grad:
                    alike.setdefault((p.device, p.dtype), {})[self._names[id(p)]] = p
        self._before[id(optimizer)] = [_Sampled(parameters) for parameters in alike.values()]

    def after_update(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Compare."""
        for sampled in self._before.pop(id(optimizer), ()):
            sites, count = list(sampled.parameters), len(sampled.lengths)
            both = torch.cat([sampled.moves(), sampled.values])
            parts = norms(list(torch.split(both, sampled.lengths * 2)))
            self._updates.append(step, sites, parts[:count], sampled.scales)
            self._sizes.append(step, sites, parts[count:], sampled.scales)

    def flush(self) -> None:
        """Read back."""
        self._updates.flush()
        self._sizes.flush()

    def filled(self) -> Mapping[str, Matrix]:
        """Both norms."""
        return {"update_norm": self._updates.matrix(), "parameter_norm": self._sizes.matrix()}


class _Sampled:
    """Samples of parameters of one device and dtype, end to end, so that few operations do for all.

    Args:
        parameters: by name.
    """

    def __init__(self, parameters: dict[str, nn.Parameter]) -> None:
        self.parameters = parameters
        self._samples = [sample_of(p) for p in parameters.values()]
        self.lengths = [sample.numel() for sample in self._samples]
        self.scales = [
            math.sqrt(p.numel() / max(1, length))
            for p, length in zip(parameters.values(), self.lengths, strict=True)
        ]
        self.values = _widened(torch.cat(self._samples))

    def moves(self) -> Tensor:
        """How far each sampled element has moved since; a sample lies in its parameter's own memory."""
        now = [
            sample if sample.data_ptr() == p.data_ptr() else sample_of(p)
            for p, sample in zip(self.parameters.values(), self._samples, strict=True)
        ]
        return torch.cat(now) - self.values


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in {torch.float16, torch.bfloat16} else tensor


def sample_of(parameter: Tensor) -> Tensor:
    """Up to about 1,024 elements, evenly strided over its memory; shares memory where it can.

    The stride has no common divisor with the number of elements, so that it does not keep to a few
    channels.
    """
    flat = parameter.detach()
    numel = flat.numel()
    if not flat.is_contiguous() and not torch.ops.aten.is_non_overlapping_and_dense(flat):
        flat = flat.reshape(-1)
    stride = _stride(numel)
    return flat.as_strided((-(-numel // stride),), (stride,))


@lru_cache(maxsize=1024)
def _stride(numel: int) -> int:
    stride = max(1, numel // SAMPLE)
    while math.gcd(stride, numel) > 1:
        stride += 1
    return stride
