"""How alike the outputs of different samples are, where a loss holds outputs against each other.

Looked at on a few backward passes; where the first compare nothing of the kind, on no more.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from pytest_dlcheck.run.sampling import Schedule
from pytest_dlcheck.run.tree import tensors
from pytest_dlcheck.run.watch.between import between, mark
from pytest_dlcheck.run.watch.guard import Guard
from pytest_dlcheck.run.watch.once import Once
from pytest_dlcheck.trace import Row

LOOKS = Schedule(8, 4)
"""Backward passes that are looked at."""
EARLY = 3
"""The first of them: what the last is held against, and whether there is anything to look at."""
OUTPUTS = 4
"""Tensors of an output that are looked at."""
SAMPLES = 64
"""Samples that are compared, the first ones."""
FEATURES = 4096
"""Numbers of a sample that are compared, the first ones."""
FEWEST = 8
"""Samples below which nothing is concluded from how alike they are."""


@dataclass
class _Output:
    module: weakref.ref[nn.Module]
    keys: frozenset[int]
    early: list[Tensor] = field(default_factory=list)
    late: list[Tensor] = field(default_factory=list)
    latest: int = -1

    def add(self, number: int, found: Tensor) -> None:
        if number < EARLY:
            self.early.append(found)
        elif number != self.latest:
            self.late = []
        self.latest = number
        self.late.append(found)


class Likeness:
    """The outputs of the models that a loss is computed from.

    Args:
        guard: stands before what models call.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._outputs: dict[tuple[int, int], _Output] = {}
        self._compared: set[tuple[int, int]] = set()
        self._is_idle = self._waits = False
        self._calls = 0
        self.looked = self.comparing = self.attracting = 0
        """Losses looked at, those that do nothing but compare outputs, and those that only draw them
        together."""

    def called(self, module: nn.Module, number: int) -> None:
        """A module is called in order to train, before the backward of that number."""
        if not self._is_idle and number in LOOKS:
            Once(module, self._guard(lambda output: self._given(module, number, output)))

    def backward_begins(self, losses: Sequence[Tensor]) -> None:
        """A backward of these losses."""
        if not self._waits:
            return
        self._waits = False
        if len(losses) != 1 or losses[0].grad_fn is None:
            return
        found = between(losses[0])
        self.looked += 1
        self.comparing += found.is_all
        self.attracting += found.attracts
        self._compared |= {name[:2] for name in found.compared if isinstance(name, tuple)}
        self._is_idle = self.looked >= EARLY and not self.comparing

    def rows(self, keys: set[int], trained: set[int]) -> Iterator[Row]:
        """What was seen of the outputs that are compared, where all are of models that are trained.

        Args:
            keys: parameters, by identity; some of the outputs must be theirs.
            trained: all that are trained.
        """
        outputs = [o for key, o in self._outputs.items() if key in self._compared]
        seen = self.comparing and all(o.keys & trained and o.early and o.late for o in outputs)
        if not seen or not any(o.keys & keys for o in outputs):
            return
        early, late = (
            [torch.stack(found).mean(0).tolist() for found in each]
            for each in ([o.early for o in outputs], [o.late for o in outputs])
        )
        yield Row(
            looked=self.looked,
            comparing=self.comparing,
            attracting=self.attracting,
            outputs=len(outputs),
            apart=max(one[0] for one in late),
            apart_before=max(one[0] for one in early),
            left=max(_left(a, b) for a, b in zip(early, late, strict=True)),
            size_left=max(b[1] / max(a[1], 1e-12) for a, b in zip(early, late, strict=True)),
        )

    def _given(self, module: nn.Module, number: int, output: object) -> None:
        self._waits = True
        self._calls += 1
        for place, tensor in enumerate(tensors(output)[:OUTPUTS]):
            if not _is_usable(tensor):
                continue
            key = (id(module), place)
            known = self._outputs.get(key)
            if known is None or known.module() is not module:
                owned = frozenset(id(p) for p in module.parameters())
                known = self._outputs[key] = _Output(weakref.ref(module), owned)
            known.add(number, _apart(tensor))
            mark(tensor, (*key, self._calls))


def _left(early: Sequence[float], late: Sequence[float]) -> float:
    """The share that is left of what tells samples apart: of the angle between them, and of its size."""
    angle, size = (now / max(before, 1e-12) for before, now in zip(early, late, strict=True))
    return angle * min(1.0, size)


def _is_usable(tensor: Tensor) -> bool:
    if tensor.is_nested:
        return False
    plain = tensor.is_floating_point() and tensor.layout == torch.strided and tensor.dim() > 1
    return plain and tensor.requires_grad and FEWEST <= tensor.shape[0] < tensor.numel()


def _apart(output: Tensor) -> Tensor:
    """How far samples are apart: 1 minus the mean cosine of two, and the size of their differences."""
    with torch.no_grad():
        rows = output.detach()[:SAMPLES].flatten(1)[:, :FEATURES].float()
        count = len(rows)
        whole = functional.normalize(rows, dim=1).sum(0).square().sum()
        cosine = (whole - count) / (count * (count - 1))
        return torch.stack([1 - cosine, rows.std(0).norm()])
