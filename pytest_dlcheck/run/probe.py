"""What a probe is: it hears the events of a trial and fills channels, without waiting for the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor

from pytest_dlcheck.run.scene import Scene
from pytest_dlcheck.run.tensors.bounded import Bounded
from pytest_dlcheck.trace import Channel, Matrix, Row, Series
from pytest_dlcheck.trial import Trial

S_contra = TypeVar("S_contra", bound=Scene, contravariant=True)
"""What a probe needs to be shown: those that do with a ``Scene`` serve any loop that is watched too."""


class Probe(Generic[S_contra]):
    """Fills the channels it names. Every event is optional: a subclass overrides what it needs.

    No event may read a tensor's value: that waits for the device. Keep tensors there and read them
    back in :meth:`flush`, which is called every few dozen steps and at the end.

    Attributes:
        channels: the channels and facts that it fills.
        idle: set by :meth:`begin` where this trial has nothing for it: it hears no event but the end.
    """

    channels: ClassVar[frozenset[str]] = frozenset()
    idle: bool = False

    def begin(self, scene: S_contra, trial: Trial) -> None:
        """The trial begins."""

    def step_begins(self, step: int) -> None:
        """A step begins; its batches are not read yet."""

    def batch(self, step: int, batch: Any) -> None:
        """A batch was read and is on its device."""

    def loss(self, step: int, loss: Tensor) -> None:
        """A loss of shape ``[]`` is about to be propagated back."""

    def outputs(self, step: int, batch: Any, outputs: Any) -> None:
        """A batch went through forward and loss, whose event came just before.

        Args:
            step: when.
            batch: as it was read.
            outputs: with their graph; None where a training step gives none.
        """

    def gradients(self, step: int, optimizer: torch.optim.Optimizer | None) -> None:
        """Gradients are complete and unscaled, and not clipped yet.

        ``optimizer`` is None where one loss feeds all optimizers.
        """

    def before_update(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """The optimizer is about to step."""

    def after_update(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """The optimizer has stepped."""

    def step_ends(self, step: int) -> None:
        """All optimizers have stepped."""

    def flush(self) -> None:
        """Read back what was kept on the device."""

    def end(self) -> None:
        """The trial ends; the model is as the last step left it."""

    def filled(self) -> Mapping[str, Channel | Sequence[Row] | str]:
        """What was recorded: channels, rows of facts, or the reason why it could not be observed."""
        return {}


class ScalarBuffer:
    """One number per step, kept on the device until it is read back in bulk; then in bounded room."""

    def __init__(self) -> None:
        self._steps: list[int] = []
        self._pending: list[Tensor | float] = []
        self._kept = Bounded()

    def __len__(self) -> int:
        return len(self._kept)

    def append(self, step: int, value: Tensor | float) -> None:
        """Keep a number, or a tensor of shape ``[]`` without its graph."""
        self._steps.append(step)
        self._pending.append(value)

    def extend(self, steps: Sequence[int], values: Sequence[Tensor | float]) -> None:
        """Keep one at each of several steps."""
        self._steps += steps
        self._pending += values

    def flush(self) -> None:
        """Read back."""
        self._kept.extend(self._steps, _read_back(self._pending))
        self._steps.clear()
        self._pending.clear()

    def series(self) -> Series:
        """Everything recorded; repeated steps are averaged (micro-batches)."""
        self.flush()
        return self._kept.series()

    def recent(self, count: int) -> list[float]:
        """What was read back last, at most so many."""
        return self._kept.recent(count)


def number_of(scalar: Tensor) -> Tensor | float:
    """What a tensor of one element holds, where reading it waits for no device; else itself, detached.

    A number that is kept costs less than a tensor, and holds neither a graph nor memory of torch's.
    """
    if scalar.is_cpu:
        return scalar.item()
    return scalar.detach().reshape(())


def _read_back(scalars: Sequence[Tensor | float]) -> list[float]:
    waiting = [scalar for scalar in scalars if isinstance(scalar, Tensor)]
    if len(waiting) == len(scalars) and len({(t.device, t.dtype) for t in waiting}) == 1:
        together: list[float] = torch.stack(waiting).tolist()  # waits for the device once
        return together
    return [float(scalar) for scalar in scalars]


class TableBuffer:
    """One number per step and site, kept on the device until it is read back in bulk.

    Args:
        sites: the names of all columns.
    """

    def __init__(self, sites: Sequence[str]) -> None:
        self._column = {site: index for index, site in enumerate(sites)}
        self._pending: list[tuple[int, Sequence[str], Sequence[Tensor], Sequence[float] | None]] = []
        self._rows: dict[int, list[float | None]] = {}

    def append(
        self,
        step: int,
        sites: Sequence[str],
        values: Sequence[Tensor],
        scales: Sequence[float] | None = None,
    ) -> None:
        """Keep the values of some sites at a step: 0-dim tensors, on any devices.

        Args:
            step: when.
            sites: which columns.
            values: a tensor of shape ``[]`` per site.
            scales: what each is multiplied by once it is on the host, where that costs nothing.
        """
        self._row(step)
        self._pending.append((step, sites, values, scales))

    def put(self, step: int, sites: Sequence[str], numbers: Sequence[float]) -> None:
        """Keep numbers that are on the host already."""
        row = self._row(step)
        if not row:
            row += [None] * len(self._column)
        for site, number in zip(sites, numbers, strict=True):
            row[self._column[site]] = number

    def flush(self) -> None:
        """Read back: once for each device, whatever waits there."""
        waiting = [value for _, _, values, _ in self._pending for value in values]
        numbers = iter(read_in_bulk(waiting))
        for step, sites, values, scales in self._pending:
            found = [next(numbers) for _ in values]
            if scales is not None:
                found = [number * scale for number, scale in zip(found, scales, strict=True)]
            self.put(step, sites, found)
        self._pending.clear()

    def matrix(self) -> Matrix:
        """Everything recorded."""
        self.flush()
        width = len(self._column)
        rows = sorted(self._rows.items())
        return Matrix(
            tuple(step for step, _ in rows),
            tuple(self._column),
            tuple(tuple(row) if row else (None,) * width for _, row in rows),
        )

    def _row(self, step: int) -> list[float | None]:
        return self._rows.setdefault(step, [])


def read_in_bulk(scalars: Sequence[Tensor]) -> list[float]:
    """What tensors of shape ``[]`` hold; each device is waited for once."""
    alike: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for index, scalar in enumerate(scalars):
        alike.setdefault((scalar.device, scalar.dtype), []).append(index)
    found = [0.0] * len(scalars)
    for indices in alike.values():
        together: list[float] = torch.stack([scalars[i] for i in indices]).tolist()
        for index, number in zip(indices, together, strict=True):
            found[index] = number
    return found
