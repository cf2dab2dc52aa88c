"""How far each step moves each parameter, on sampled steps, from a strided sample of its elements."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.probe import Probe, TableBuffer
from pytest_dlcheck.run.sampling import EVERY, TENSORS, Due
from pytest_dlcheck.run.scene import Scene
from pytest_dlcheck.run.tensors.sampled import SAMPLE, sample_of, stride_over, strided
from pytest_dlcheck.trace import Matrix
from pytest_dlcheck.trial import Trial

WHOLE = 4 * SAMPLE
"""Elements up to which a parameter is copied whole, and sampled later: that takes no gathering."""
HELD = 1 << 18
"""Elements that wait to be normed at most: a few megabytes."""


class UpdateProbe(Probe[Scene]):
    """Fills ``update_norm`` and ``parameter_norm`` (before the step), both L2, scaled to the whole."""

    channels = frozenset({"update_norm", "parameter_norm"})

    def begin(self, scene: Scene, trial: Trial) -> None:
        """Lay out the table."""
        self._is_due = Due(EVERY if trial.dense else TENSORS)
        self._names = {id(p): name for name, p in scene.parameters.items()}
        self._updates = TableBuffer(list(scene.parameters))
        self._sizes = TableBuffer(list(scene.parameters))
        self._samples: dict[int, tuple[_Layout, list[_Samples]]] = {}
        self._before: dict[int, list[tuple[_Samples, Tensor]]] = {}
        self._moves: list[_Move] = []
        self._held = 0

    def before_update(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Keep a sample of each parameter."""
        if self._is_due(step):
            self._before[id(optimizer)] = [(some, some.read()) for some in self._samples_of(optimizer)]

    def after_update(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Compare."""
        for samples, before in self._before.pop(id(optimizer), ()):
            self._moves.append(_Move(step, samples, before, samples.read()))
            self._held += samples.held
            if self._held > HELD:
                self._measure()

    def filled(self) -> Mapping[str, Matrix]:
        """Both norms."""
        self._measure()
        return {"update_norm": self._updates.matrix(), "parameter_norm": self._sizes.matrix()}

    def _samples_of(self, optimizer: torch.optim.Optimizer) -> list[_Samples]:
        """Where its parameters' samples lie: as the last time, unless it has others now."""
        parameters = [
            p
            for group in optimizer.param_groups
            for p in group["params"]
            if id(p) in self._names and p.requires_grad
        ]
        layout = [(id(p), p.numel(), p.device, p.dtype) for p in parameters]
        known = self._samples.get(id(optimizer))
        if known is not None and known[0] == layout:
            return known[1]
        alike: dict[tuple[torch.device, torch.dtype], dict[str, nn.Parameter]] = {}
        for p in parameters:
            alike.setdefault((p.device, p.dtype), {})[self._names[id(p)]] = p
        found = [_Samples(few) for few in alike.values()]
        self._samples[id(optimizer)] = layout, found
        return found

    def _measure(self) -> None:
        """Norm what waits: the steps of one layout together, so that few operations do for all."""
        moves, self._moves, self._held = self._moves, [], 0
        for samples in dict.fromkeys(move.samples for move in moves):
            some = [move for move in moves if move.samples is samples]
            before = samples.sampled([move.before for move in some])
            after = samples.sampled([move.after for move in some])
            for table, read in ((self._updates, after.sub_(before)), (self._sizes, before)):
                for move, numbers in zip(some, samples.norms(read), strict=True):
                    table.put(move.step, samples.sites, numbers)


_Layout = list[tuple[int, int, torch.device, torch.dtype]]


class _Samples:
    """Samples of parameters of one device and dtype, end to end.

    Args:
        parameters: by name.
    """

    def __init__(self, parameters: dict[str, nn.Parameter]) -> None:
        self.sites = list(parameters)
        self._parameters = list(parameters.values())
        self._parts = [_part_of(p) for p in self._parameters]
        self._copied = [part.numel() for part in self._parts]
        self.held = sum(self._copied)
        """Elements of a reading."""
        sizes = [p.numel() for p in self._parameters]
        self._strides = [stride_over(size) if size <= WHOLE else 1 for size in sizes]
        self._lengths = [-(-n // s) for n, s in zip(self._copied, self._strides, strict=True)]
        self._scales = [
            math.sqrt(p.numel() / max(1, length))
            for p, length in zip(self._parameters, self._lengths, strict=True)
        ]

    def read(self) -> Tensor:
        """What they hold now; a part lies in its parameter's own memory, unless that has moved."""
        for index, (p, part) in enumerate(zip(self._parameters, self._parts, strict=True)):
            if part.data_ptr() != p.data_ptr():
                self._parts[index] = _part_of(p)
        return torch.cat(self._parts)

    def sampled(self, several: list[Tensor]) -> Tensor:
        """The samples of several readings, a row each."""
        read = _widened(torch.stack(several))
        if self._lengths == self._copied:
            return read
        parts = zip(torch.split(read, self._copied, 1), self._strides, strict=True)
        return torch.cat([part[:, ::stride] for part, stride in parts], 1)

    def norms(self, read: Tensor) -> list[list[float]]:
        """The L2 norm of each parameter's sample, scaled to the whole parameter, of each reading."""
        parts = torch.split(read, self._lengths, 1)
        found: list[list[float]] = torch.stack(
            [torch.linalg.vector_norm(part, dim=1) for part in parts], 1
        ).tolist()
        return [[n * scale for n, scale in zip(row, self._scales, strict=True)] for row in found]


@dataclass(frozen=True, eq=False)
class _Move:
    """What parameters were before a step and after it."""

    step: int
    samples: _Samples
    before: Tensor
    after: Tensor


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in {torch.float16, torch.bfloat16} else tensor


def _part_of(parameter: Tensor) -> Tensor:
    """All of a small parameter's memory, a sample of a larger one's."""
    return strided(parameter, 1) if parameter.numel() <= WHOLE else sample_of(parameter)
