"""How alike the outputs of different samples are, where a loss holds outputs against each other.

Looked at on a few backward passes; where the first compare nothing of the kind, on no more.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.jit import ScriptModule
from torch.nn import functional
from torch.utils.weak import WeakIdKeyDictionary

from pytest_dlcheck.run.losses.graphs.between import Between, between, mark
from pytest_dlcheck.run.sampling import Schedule
from pytest_dlcheck.run.tensors.tree import tensors
from pytest_dlcheck.run.watch.guard import Guard
from pytest_dlcheck.run.watch.taps.once import Once
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
KEPT = 8
"""Calls whose outputs are kept, a megabyte each at most, to be compared only if their loss does so."""
FEWEST = 8
"""Samples below which nothing is concluded from how alike they are."""


@dataclass
class _Output:
    """One of a module's on the first looks and on the last: its rows, or how far apart they are."""

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


@dataclass
class _Loss:
    """A loss that was looked at.

    Attributes:
        models: that were called for it, by identity.
        found: what it makes of their outputs.
        steppers: the trainings that were seen to step on its gradients.
    """

    models: frozenset[int]
    found: Between
    steppers: set[int] = field(default_factory=set)

    def compared(self) -> set[tuple[int, int]]:
        """The outputs that it holds against each other."""
        return {name[:2] for name in self.found.compared if isinstance(name, tuple)}


class Likeness:
    """The outputs of the models that a loss is computed from.

    Args:
        guard: stands before what models call.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._outputs: dict[tuple[int, int], _Output] = {}
        self._is_idle = self._waits = False
        self._calls = 0
        self._within: list[Once] = []
        self._with_loss: MutableMapping[nn.Module, bool] = WeakIdKeyDictionary()
        """Models that give a loss and nothing else: it is their parts' outputs that are compared."""
        self._roots: set[int] = set()
        """Models that were called since the last backward, by identity."""
        self._losses: dict[int, _Loss] = {}
        """By the numbers of their backward passes, counted from 1."""

    def called(self, module: nn.Module, number: int) -> None:
        """A module is called in order to train, before the backward of that number."""
        if self._is_idle or number not in LOOKS:
            return
        self._roots.add(id(module))
        Once(
            module,
            self._guard(lambda output: self._given(module, number, output)),
            ended=self._stop_listening_within,
        )
        if module in self._with_loss:
            for part in module.children():
                self._listen_within(part, number)

    def _listen_within(self, part: nn.Module, number: int) -> None:
        """Hear what a part gives, as often as it is called, until its model returns."""

        def given(output: object) -> None:
            self._given(part, number, output)
            self._listen_within(part, number)

        if not isinstance(part, ScriptModule):
            self._within.append(Once(part, self._guard(given)))

    def _stop_listening_within(self) -> None:
        while self._within:
            self._within.pop().cancel()

    def backward_begins(self, losses: Sequence[Tensor], number: int) -> None:
        """A backward of these losses, after so many others."""
        roots, self._roots = frozenset(self._roots), set()
        if not self._waits:
            return
        self._waits = False
        if len(losses) != 1 or losses[0].grad_fn is None:
            return
        self._losses[number + 1] = _Loss(roots, between(losses[0]))
        is_young = len(self._losses) < EARLY
        self._is_idle = not is_young and not any(each.found.is_all for each in self._losses.values())
        if self._is_idle:
            self._outputs.clear()

    def steps(self, training: int, applied: frozenset[int]) -> None:
        """A training, by its identity, applies what the backward passes of these numbers have left."""
        for number in applied & self._losses.keys():
            self._losses[number].steppers.add(training)

    def rows(self, keys: set[int], trained: set[int], training: int) -> Iterator[Row]:
        """What was seen of the outputs that are compared, where all are of models that are trained.

        Args:
            keys: parameters, by identity; some of the outputs must be theirs.
            trained: all that are trained.
            training: the one that steps them, by its identity.
        """
        losses = self._losses_of(training)
        compared = set().union(*(each.compared() for each in losses))
        outputs = [o for key, o in self._outputs.items() if key in compared]
        seen = losses and all(o.keys & trained and o.early and o.late for o in outputs)
        if not seen or not any(o.keys & keys for o in outputs):
            return
        begun = [_begun(o.early) for o in outputs]
        if not all(begun):
            return
        early, late = (
            [torch.stack(list(map(_apart, found))).mean(0).tolist() for found in each]
            for each in (begun, [o.late for o in outputs])
        )
        yield Row(
            looked=len(losses),
            comparing=sum(each.found.is_all for each in losses),
            attracting=sum(each.found.attracts for each in losses),
            outputs=len(outputs),
            apart=max(one[0] for one in late),
            apart_before=max(one[0] for one in early),
            left=max(_left(a, b) for a, b in zip(early, late, strict=True)),
            size_left=max(b[1] / max(a[1], 1e-12) for a, b in zip(early, late, strict=True)),
        )

    def _losses_of(self, training: int) -> list[_Loss]:
        """Those of a training, all where it is not known, of models that some of them compare."""
        every = list(self._losses.values())
        own = [each for each in every if training in each.steppers] or every
        comparing = {each.models for each in own if each.found.is_all}
        return [each for each in own if each.models in comparing]

    def _given(self, module: nn.Module, number: int, output: object) -> None:
        self._waits = True
        self._calls += 1
        found = tensors(output)[:OUTPUTS]
        if len(found) == 1 and not found[0].dim() and module not in self._with_loss:
            self._with_loss[module] = True
            self._waits = False  # of this loss, its parts were not listened to
        for place, tensor in enumerate(found):
            if not _is_usable(tensor):
                continue
            key = (id(module), place)
            known = self._outputs.get(key)
            if known is None or known.module() is not module:
                owned = frozenset(id(p) for p in module.parameters())
                known = self._outputs[key] = _Output(weakref.ref(module), owned)
            rows = _rows(tensor)
            known.add(number, rows.clone() if self._calls <= KEPT else _apart(rows))
            mark(tensor, (*key, self._calls))


def _begun(early: Sequence[Tensor]) -> list[Tensor]:
    """The first of an output without those of zeros, which point nowhere: a head may begin at zero."""
    return [found for found in map(_apart, early) if found[2]]


def _left(early: Sequence[float], late: Sequence[float]) -> float:
    """The share that is left of what tells samples apart: of the angle between them, and of its size."""
    angle, size = (now / max(before, 1e-12) for before, now in zip(early[:2], late[:2], strict=True))
    return angle * min(1.0, size)


def _is_usable(tensor: Tensor) -> bool:
    if tensor.is_nested:
        return False
    plain = tensor.is_floating_point() and tensor.layout == torch.strided and tensor.dim() > 1
    return plain and tensor.requires_grad and FEWEST <= tensor.shape[0] < tensor.numel()


def _rows(output: Tensor) -> Tensor:
    return output.detach()[:SAMPLES].flatten(1)[:, :FEATURES]


def _apart(rows: Tensor) -> Tensor:
    """How far samples are apart: 1 minus the mean cosine of two, the size of their differences, theirs.

    Args:
        rows: the samples, or this already.
    """
    if rows.dim() == 1:
        return rows
    with torch.no_grad():
        rows = rows.float()
        count = len(rows)
        whole = functional.normalize(rows, dim=1).sum(0).square().sum()
        cosine = (whole - count) / (count * (count - 1))
        return torch.stack([(1 - cosine).clamp(min=0), rows.std(0).norm(), rows.norm()])
