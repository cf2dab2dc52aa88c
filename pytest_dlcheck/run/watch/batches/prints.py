"""A number per sample that equal samples share, kept on the device until the end. No judgement."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

import torch
from torch import Tensor

COLUMNS = 64
"""Numbers of a sample that are weighed, evenly spread: two images or sentences rarely share them all."""
ROWS = 512
"""Samples of a batch that are weighed at most: the first ones."""


@dataclass(eq=False, slots=True)
class Prints:
    """The numbers of one batch's samples; many batches are weighed together, far cheaper than each.

    Attributes:
        columns: what of each sample is weighed, in memory of its own; None once it is.
        weighed: what comes of it, on its device; None once it is read.
        read: the same, on the host.
    """

    columns: Tensor | None
    weighed: Tensor | None = None
    read: list[float] | None = None

    @classmethod
    def of(cls, batch: Tensor) -> Prints | None:
        """Those of a batch as it is now; None where samples cannot be told apart."""
        rows = _rows(batch)
        if rows is None:
            return None
        return cls(rows.clone() if rows.shape[1] <= COLUMNS else _columns(rows))

    @classmethod
    def of_a_copy(cls, batch: Tensor) -> Prints | None:
        """The same of what nobody writes to."""
        rows = _rows(batch)
        return None if rows is None else cls(_columns(rows))

    @property
    def numbers(self) -> list[float]:
        """A number of each sample."""
        if self.read is None:
            read([self])
        return self.read or []


def weigh(found: Iterable[Prints]) -> None:
    """Weigh several, and let go of what was copied of their batches."""
    alike: dict[object, list[tuple[Prints, Tensor]]] = defaultdict(list)
    for prints in found:
        if (columns := prints.columns) is not None:
            alike[columns.shape[1], columns.dtype, columns.device].append((prints, columns))
    for some in alike.values():
        weighed = _weighed(torch.cat([columns for _, columns in some]))
        parts = torch.split(weighed, [len(columns) for _, columns in some])
        for (prints, _), part in zip(some, parts, strict=True):
            prints.weighed, prints.columns = part, None


def read(found: Iterable[Prints]) -> None:
    """Read several, waiting for each device once."""
    unread = [prints for prints in found if prints.read is None]
    weigh(unread)
    alike: dict[torch.device, list[tuple[Prints, Tensor]]] = defaultdict(list)
    for prints in unread:
        if (weighed := prints.weighed) is not None:
            alike[weighed.device].append((prints, weighed))
    for some in alike.values():
        numbers = iter(rounded(torch.cat([weighed for _, weighed in some])))
        for prints, weighed in some:
            prints.read, prints.weighed = list(islice(numbers, len(weighed))), None


def row_prints(batch: Tensor) -> Tensor | None:
    """A weighed sum per sample, float64 of shape ``[rows]``; None where samples cannot be told apart.

    Args:
        batch: samples along its first axis.
    """
    rows = _rows(batch)
    return None if rows is None else _weighed(_columns(rows))


def _rows(batch: Tensor) -> Tensor | None:
    """The first samples, shape ``[rows, numbers]``; a view where it can be."""
    if batch.is_nested or batch.layout != torch.strided or batch.is_complex():
        return None
    shape = batch.shape
    if not shape or not batch.numel():
        return None
    rows = batch.detach()
    rows = rows if shape[0] <= ROWS else rows[:ROWS]
    return rows if len(shape) == 2 else rows.reshape(min(shape[0], ROWS), -1)  # noqa: PLR2004


def _columns(rows: Tensor) -> Tensor:
    """What of each sample is weighed."""
    width = rows.shape[1]
    return rows if width <= COLUMNS else rows[:, _places(width, str(rows.device))]


def _weighed(columns: Tensor) -> Tensor:
    weights = _weights(columns.shape[1], str(columns.device))
    return columns.to(weights.dtype).mv(weights)


def rounded(prints: Tensor) -> list[float]:
    """Without the last 22 of 52 bits, which depend on how a sum was taken: 2 in 10^10 are left."""
    bits = prints.cpu().double().view(torch.int64)
    values: list[float] = ((bits + (1 << 21)) & -(1 << 22)).view(torch.float64).tolist()
    return values


@lru_cache(maxsize=64)
def _places(width: int, device: str) -> Tensor:
    return (torch.arange(COLUMNS) * width // COLUMNS).to(device)


@lru_cache(maxsize=64)
def _weights(count: int, device: str) -> Tensor:
    dtype = torch.float32 if device.startswith("mps") else torch.float64
    return (torch.arange(1, count + 1, dtype=torch.float64).sin() + 2).to(device, dtype)
