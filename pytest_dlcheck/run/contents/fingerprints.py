"""Fingerprints of samples: equal inputs, equal number. Padding with zeros at the end does not count."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from pytest_dlcheck.run.contents.places import Place

ROWS = 200_000
"""Samples of tensors that are weighed in a few hundredths of a second,"""
COLUMNS = 64
"""by so many of their numbers, evenly spread; equal ones are then compared as a whole."""
_EMPTY = 1_469_598_103_934_665_603
_PRIME = 1_099_511_628_211


def prints_of(places: list[Place]) -> dict[int, int]:
    """A fingerprint of the inputs of every sample, by the sample's index in the data set."""
    found: dict[int, int] = {}
    for place in places:
        values = place.values if place.values.dim() else place.values[:, None]
        values = torch.view_as_real(values) if values.is_complex() else values
        values = values.float() if values.dtype == torch.bfloat16 else values
        rows = (
            (values + 0 if values.is_floating_point() else values).reshape(len(values), -1).contiguous()
        )
        own = {
            index: hash(r.tobytes().rstrip(b"\0"))
            for index, r in zip(place.indices, rows.numpy(), strict=True)
        }
        for index, number in own.items():
            found[index] = (found.get(index, _EMPTY) * _PRIME + number) & (1 << 62) - 1
    return found


Rows = tuple[tuple[Tensor, ...], Tensor]
"""Tensors as columns side by side, and which of their rows are taken."""


def rows_of(dataset: Any, *, pairs: bool) -> list[Rows] | None:
    """The input tensors behind a data set, with the rows it takes of each; None where it has others.

    Args:
        dataset: a :class:`TensorDataset`, subsets and concatenations of them.
        pairs: the second of two tensors is a target.
    """
    if type(dataset) is TensorDataset:
        given = dataset.tensors[:1] if pairs and len(dataset.tensors) == 2 else dataset.tensors  # noqa: PLR2004
        usable = all(t.layout == torch.strided and t.dim() > 0 for t in given)
        return [(tuple(t.detach() for t in given), torch.arange(len(given[0])))] if usable else None
    if type(dataset) is ConcatDataset:
        parts = [rows_of(part, pairs=pairs) for part in dataset.datasets]
        return None if None in parts else [pair for part in parts for pair in part or ()]
    if type(dataset) is not Subset:
        return None
    inner = rows_of(dataset.dataset, pairs=pairs)
    if inner is None or len(inner) != 1:
        return None
    return [(inner[0][0], inner[0][1][torch.as_tensor(dataset.indices, dtype=torch.long)])]


def weights_of(rows: list[Rows]) -> Tensor:
    """A number per row that equal rows share: int64 of shape ``[n]``."""
    parts = []
    for tensors, index in rows:
        total = torch.zeros(len(index), dtype=torch.int64)
        for tensor in tensors:
            flat = tensor.reshape(len(tensor), -1) if len(tensor) else tensor.reshape(0, 1)
            if flat.size(1) > COLUMNS:
                pick = torch.linspace(0, flat.size(1) - 1, COLUMNS).round().long()
                flat = flat[:, torch.unique(pick)]
            total = total * _PRIME + _weighed(flat[index].to("cpu"))
        parts.append(total)
    return torch.cat(parts)


def form_of(rows: list[Rows]) -> set[tuple[tuple[torch.Size, torch.dtype], ...]]:
    """Shapes and dtypes of a row; only rows of one form can be compared."""
    return {tuple((t.shape[1:], t.dtype) for t in tensors) for tensors, _ in rows}


def _weighed(few: Tensor) -> Tensor:
    few = torch.view_as_real(few).flatten(1) if few.is_complex() else few
    bits = (few.double() + 0.0).view(torch.int64) if few.is_floating_point() else few.long()
    generator = torch.Generator().manual_seed(0)
    factors = torch.randint(-(1 << 62), 1 << 62, (bits.size(1),), generator=generator) | 1
    mixed = bits ^ (bits >> 29)  # the low bits of a float32 in double precision are all 0
    return (mixed * factors).sum(1)
