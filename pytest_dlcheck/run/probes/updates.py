"""How far each step moves each parameter, on sampled steps, from a strided sample of its elements."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.probe import Probe, TableBuffer
from pytest_dlcheck.run.probes.gradients import norms
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.sampling import EVERY, TENSORS
from pytest_dlcheck.trace import Matrix
from pytest_dlcheck.trial import Trial

SAMPLE = 1024
"""Elements read of each parameter: an L2 norm then is off by about 1 / sqrt(2 * 1024) = 2 %."""


class UpdateProbe(Probe):
    """Fills ``update_norm`` and ``parameter_norm`` (before the step), both L2, scaled to the whole."""

    channels = frozenset({"update_norm", "parameter_norm"})

    def begin(self, rig: Rig, trial: Trial) -> None:
        """Lay out the samples."""
        self._schedule = EVERY if trial.dense else TENSORS
        self._names = {id(p): name for name, p in rig.parameters.items()}
        self._updates = TableBuffer(list(rig.parameters))
        self._sizes = TableBuffer(list(rig.parameters))
        self._before: dict[int, list[tuple[str, nn.Parameter, Tensor]]] = {}

    def before_update(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Keep a sample of each parameter."""
        if step not in self._schedule:
            return
        self._before[id(optimizer)] = [
            (self._names[id(p)], p, sample_of(p).clone())
            for group in optimizer.param_groups
            for p in group["params"]
            if id(p) in self._names and p.requires_grad
        ]

    def after_update(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Compare."""
        kept = self._before.pop(id(optimizer), None)
        if not kept:
            return
        names = [name for name, _, _ in kept]
        scales = [math.sqrt(p.numel() / max(1, old.numel())) for _, p, old in kept]
        olds = [old.float() if old.is_floating_point() else old for _, _, old in kept]
        moves = [sample_of(p).to(old.dtype) - old for (_, p, _), old in zip(kept, olds, strict=True)]
        for buffer, tensors in ((self._updates, moves), (self._sizes, olds)):
            scaled = [n * s for n, s in zip(norms(tensors), scales, strict=True)]
            buffer.append(step, names, scaled)

    def flush(self) -> None:
        """Read back."""
        self._updates.flush()
        self._sizes.flush()

    def filled(self) -> Mapping[str, Matrix]:
        """Both norms."""
        return {"update_norm": self._updates.matrix(), "parameter_norm": self._sizes.matrix()}


def sample_of(parameter: Tensor) -> Tensor:
    """Up to about 1,024 elements, evenly strided over its memory; shares memory where it can.

    The stride has no common divisor with the number of elements, so that it does not keep to a few
    channels.
    """
    flat = parameter.detach()
    numel = flat.numel()
    if not flat.is_contiguous():
        dense = torch.ops.aten.is_non_overlapping_and_dense(flat)
        flat = flat.as_strided((numel,), (1,)) if dense else flat.reshape(-1)
    stride = max(1, numel // SAMPLE)
    while math.gcd(stride, numel) > 1:
        stride += 1
    return flat.view(-1)[::stride]
