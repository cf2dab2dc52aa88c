"""Inputs and targets of the samples that were looked at, one tensor each. Nothing is read here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.data.samples import Look
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import batch_size, is_plain, named_tensors, tensors


@dataclass
class Place:
    """One tensor of every sample that was looked at.

    Attributes:
        name: ``input``, ``input[1]``, ``input.ids``, ``target``.
        is_target: whether the loss compares with it.
        values: shape ``[n, ...]``, the samples in the order in which they were read.
        indices, positions, windows: of the samples, as in :class:`Chunk`.
        chunks: the chunk that each sample was in.
    """

    name: str
    is_target: bool
    values: Tensor
    indices: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    windows: list[int] = field(default_factory=list)
    chunks: list[int] = field(default_factory=list)


def places(rig: Rig, found: Look) -> list[Place]:
    """The inputs and targets, sample by sample, where their shapes agree; padded ones by the first.

    Of samples that lie end to end, only targets: what is as long as the batch beside them (offsets,
    lengths) says where a sample stands, not what it is. What a trial keeps looking at is put together
    once, for all who ask: they change nothing in it.
    """
    if all(found is not kept for kept in rig.stream.looks.values()):
        return _places(rig, found)
    known: list[Place] = rig.once(f"the places of look {id(found)}", lambda: _places(rig, found))
    return known


def _places(rig: Rig, found: Look) -> list[Place]:
    dim = rig.recipe.batch_dim or 0
    parted = [_lie_end_to_end(chunk.batch, dim) for chunk in found.chunks]
    gathered: dict[str, list[tuple[int, bool, Tensor]]] = {}
    for number, chunk in enumerate(found.chunks):
        for name, is_target, tensor in split(rig, chunk.batch):
            fits = tensor.dim() > dim and tensor.size(dim) == len(chunk.indices) > 0
            if fits and (is_target or not parted[number]):
                gathered.setdefault(name, []).append((number, is_target, tensor.movedim(dim, 0)))
    return [_joined(name, parts, found) for name, parts in gathered.items()]


def _lie_end_to_end(batch: Any, dim: int) -> bool:
    return any(t.dim() > dim for t in tensors(batch)) and batch_size(batch, dim) is None


def split(rig: Rig, batch: Any) -> Iterator[tuple[str, bool, Tensor]]:
    """Every strided tensor of a batch, with its name and whether it is a target."""
    targets = rig.objective.targets(batch)
    known = {id(t) for t in tensors(targets)}
    pair = isinstance(batch, (tuple, list)) and len(batch) == 2  # noqa: PLR2004  inputs and targets
    inputs = batch[0] if pair and targets is batch[1] else batch
    for name, tensor in named_tensors(inputs, "input"):
        if id(tensor) not in known and is_plain(tensor):
            yield name, False, tensor.detach()
    for name, tensor in named_tensors(targets, "target"):
        if is_plain(tensor):
            yield name, True, tensor.detach()


def _joined(name: str, parts: list[tuple[int, bool, Tensor]], found: Look) -> Place:
    shape, dtype = parts[0][2].shape[1:], parts[0][2].dtype
    fitting = [p for p in parts if p[2].shape[1:] == shape and p[2].dtype == dtype]
    place = Place(name, parts[0][1], torch.cat([tensor for _, _, tensor in fitting]))
    for number, _, tensor in fitting:
        chunk = found.chunks[number]
        place.indices += chunk.indices
        place.positions += chunk.positions
        place.windows += chunk.windows
        place.chunks += [number] * len(tensor)
    return place


def each_once(place: Place) -> Place:
    """A sampler may draw a sample twice; what it holds is to be seen once."""
    if len(set(place.indices)) == len(place.indices):
        return place
    first = {index: at for at, index in reversed(list(enumerate(place.indices)))}
    at = sorted(first.values())
    parts = (place.indices, place.positions, place.windows, place.chunks)
    pick = [[part[i] for i in at] for part in parts]
    return Place(place.name, place.is_target, place.values[at], *pick)


def real(values: Tensor) -> Tensor:
    """The same as real numbers that can be counted with."""
    values = torch.view_as_real(values) if values.is_complex() else values
    if values.dtype in (torch.float16, torch.bfloat16):
        return values.float()
    return values.to(torch.uint8) if values.dtype == torch.bool else values


def all_finite(values: Tensor) -> bool:
    """Whether every floating number is: a sum tells in most cases, and is quicker."""
    return bool(values.sum().isfinite()) or bool(values.isfinite().all())
