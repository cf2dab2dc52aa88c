"""Which parts of an input reach the outputs: by gradients, and by replacing values. Judges nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from pytest_dlcheck.run.errors import CannotTellError
from pytest_dlcheck.run.passes.entry import Entry
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.compare import float_outputs, relative_change
from pytest_dlcheck.run.tensors.tree import map_tensors
from pytest_dlcheck.run.world.seeding import same_draws

_NOISE = 10.0
"""Standard deviations of the data that replaced values lie away: a maximum is surely moved by them."""
_LOOKS = (1, 2, 3, 4, 5, 6)
"""Further draws, in train and in eval mode by turns, under which a part must be without influence."""
_EACH = 12
"""Indices of an axis that are tried one by one; longer axes are tried in blocks, then at their rims."""
_BLOCKS = 8
_SAME = 1e-13
"""Relative change up to which outputs in double precision are the same: the rounding of a sum."""


@dataclass(frozen=True)
class Unused:
    """Indices of one axis of an input without influence.

    Attributes:
        axis: the axis.
        dead: a flag per index, bool of shape ``[size]``.
        edge: influence of the nearest used index over the largest of any (ratio); small where
            influence fades out rather than being cut off.
        silent: the same flags and those of indices without influence that are constant in the data.
    """

    axis: int
    dead: Tensor
    edge: float
    silent: Tensor


class Influence:
    """Asks the model again and again.

    Args:
        rig: the recipe, inside ``rig.undisturbed(training=False)``.
        entry: how the root is called, with the samples to be tried.
        function: the same call in the precision that is wanted.
    """

    def __init__(self, rig: Rig, entry: Entry, function: Callable[[Any], Any]) -> None:
        self.rig, self.entry, self.function = rig, entry, function
        self.generator = torch.Generator().manual_seed(rig.seed)
        self._known: dict[tuple[int, bool], dict[str, Tensor]] = {}

    def outputs(self, inputs: Any, seed: int = 0, *, training: bool = False) -> dict[str, Tensor]:
        """The floating outputs, without graph."""
        with self._mode(training), torch.no_grad(), same_draws(self.rig.seed + seed):
            return float_outputs(self.function(inputs))

    def change(self, inputs: Any, seed: int = 0, *, training: bool = False) -> float:
        """The largest relative change of an output; 1 where the model refuses, having looked."""
        if (seed, training) not in self._known:
            known = self.outputs(self.entry.inputs, seed, training=training)
            self._known[seed, training] = known
        before = self._known[seed, training]
        try:
            after = self.outputs(inputs, seed, training=training)
        except Exception:  # noqa: BLE001  the user's model may refuse values in any way
            return 1.0
        if before.keys() != after.keys():
            return 1.0
        return max(relative_change(a, after[place]) for place, a in before.items())

    def slopes(self, inputs: Any, seed: int = 0, *, training: bool = False) -> dict[int, Tensor] | None:
        """The gradient of a random mix of all outputs; None where there is none to be had.

        Returns:
            By the index of the input tensor, of its shape.
        """
        own = [t for _, t in self.entry.named()]
        leaves: dict[int, Tensor] = {}
        whole: dict[int, Tensor] = {}
        tensors = iter(range(len(own)))

        def track(tensor: Tensor) -> Tensor:
            if not (tensor.numel() and tensor.layout is torch.strided):
                return tensor
            index = next(tensors)
            if not tensor.is_floating_point():
                whole[index] = tensor
                return tensor
            leaves[index] = tensor.detach().double().requires_grad_()
            return leaves[index].to(tensor.dtype) * 1  # a step may change its inputs in place

        tracked = {k: map_tensors(v, track) for k, v in inputs.items()}
        lookups = _Lookups(whole)
        try:
            with self._mode(training), torch.enable_grad(), same_draws(self.rig.seed + seed), lookups:
                total = self._mixed(self.function(tracked))
                sources = [*leaves.values(), *(leaf for _, leaf in lookups.found)]
                found: tuple[Tensor | None, ...] = ()
                if sources:
                    found = torch.autograd.grad(total, sources, allow_unused=True)
        except Exception:  # noqa: BLE001  no gradient reaches the inputs of such a model
            return None
        filled = [
            torch.zeros_like(leaf) if g is None else g for leaf, g in zip(sources, found, strict=True)
        ]
        slopes = dict(zip(leaves, filled, strict=False))
        for (index, _), gradient in zip(lookups.found, filled[len(leaves) :], strict=True):
            slopes[index] = slopes.get(index, 0) + gradient.norm(dim=-1)
        return slopes

    def _mixed(self, outputs: Any) -> Tensor:
        parts: list[Tensor] = []

        def mix(tensor: Tensor) -> Tensor:
            if tensor.is_floating_point() and tensor.grad_fn is not None and tensor.numel():
                weights = torch.rand(tensor.shape, generator=self.generator) + 0.5
                parts.append((tensor.double() * weights.to(tensor.device)).sum())
            return tensor

        map_tensors(outputs, mix)
        if not parts:
            raise CannotTellError("no output is connected to a graph")
        return torch.stack(parts).sum()

    # -- whole tensors --------------------------------------------------------------------------

    def reaches(self, tensor: Tensor, *, surely: bool = False) -> bool | None:
        """Whether the tensor influences the outputs; None where the data cannot tell.

        Args:
            tensor: one of the entry's.
            surely: try under other draws too, and in train mode.
        """
        told = None
        for other in self.replacements(tensor, slice(None), 0):
            looks = [(0, False)]
            looks += [(seed, seed % 2 == 1) for seed in _LOOKS] if surely else []
            told = False
            if any(self._moves(tensor, other, *look) for look in looks):
                return True
        return told

    def _moves(self, tensor: Tensor, other: Tensor, seed: int, training: bool) -> bool:  # noqa: FBT001
        try:
            inputs = self.entry.with_tensor(tensor, other)
            return self.change(inputs, seed, training=training) > self.same
        except CannotTellError:
            return False

    @property
    def same(self) -> float:
        """The relative change up to which outputs are the same; 0 outside of double precision."""
        double = all(p.dtype == torch.float64 for p in self.rig.model.parameters())
        return _SAME if double else 0.0

    def replacements(self, tensor: Tensor, part: Any, axis: int) -> Iterator[Tensor]:
        """The tensor with that part of an axis replaced by values that it may well have."""
        donors = [tensor.roll(1, 0), tensor.flip(0)]
        if tensor.dim() and tensor.size(0) > 1:
            donors.append(tensor.flatten().roll(tensor[0].numel() // 2 + 1).reshape(tensor.shape))
        if tensor.is_floating_point() and not is_flags(tensor):
            donors = [self._noisy(donors[0])]
        there = (slice(None),) * axis + (part,)
        for donor in donors:
            if tensor.dim() and not torch.equal(donor[there], tensor[there]):
                new = tensor.clone()
                new[there] = donor[there]
                yield new
                if not is_flags(tensor):
                    return

    def _noisy(self, tensor: Tensor) -> Tensor:
        finite = tensor[tensor.isfinite()].double()
        scale = float(finite.std()) if finite.numel() > 1 else 0.0
        scale = scale or float(finite.abs().max() if finite.numel() else 0) or 1.0
        noise = torch.randn(tensor.shape, generator=self.generator).to(tensor.device, tensor.dtype)
        return tensor + noise * scale * _NOISE

    # -- parts ----------------------------------------------------------------------------------

    def unused_by_slope(
        self, index: int, tensor: Tensor, slope: Tensor, axes: list[int]
    ) -> list[Unused]:
        """Indices with zero gradient throughout, that replaced values do not wake up either."""
        silent = {axis: silent_along(slope == 0, axis) for axis in axes}
        found = [(axis, silent[axis] & ~_constant(tensor, axis)) for axis in axes]
        dead = [(axis, flags) for axis, flags in found if bool(flags.any()) and not bool(flags.all())]
        if not dead:
            return []
        for look in _LOOKS:
            moved = {k: map_tensors(v, self._stirred) for k, v in self.entry.inputs.items()}
            slopes = self.slopes(moved, look, training=look % 2 == 1)
            if slopes is not None:
                dead = [(axis, flags & silent_along(slopes[index] == 0, axis)) for axis, flags in dead]
        return [
            Unused(
                axis,
                flags,
                _edge(slope.abs().movedim(axis, 0).flatten(1).amax(1), flags),
                flags | (silent[axis] & _constant(tensor, axis)),
            )
            for axis, flags in dead
            if bool(flags.any()) and self._idle(tensor, axis, flags)
        ]

    def is_cut_before_the_last(self, tensor: Tensor, slope: Tensor, axis: int) -> bool:
        """Whether values before the last index of an axis matter, and none of their gradients arrive."""
        silent = silent_along(slope == 0, axis)
        if bool(silent[-1]) or not bool(silent[:-1].all()):
            return False
        return not self._idle(tensor, axis, silent)

    def _stirred(self, tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point() or is_flags(tensor) or not tensor.dim():
            return tensor
        return self._noisy(tensor.roll(1, 0))

    def _idle(self, tensor: Tensor, axis: int, flags: Tensor) -> bool:
        part = flags.nonzero().flatten().to(tensor.device)
        return not any(
            self.change(self.entry.with_tensor(tensor, other)) > self.same
            for other in self.replacements(tensor, part, axis)
        )

    def unused_by_value(self, tensor: Tensor, axes: list[int]) -> list[Unused]:
        """Indices that replaced values show to be without influence, where there are no gradients."""
        found = []
        for axis in axes:
            search = _Search(self, tensor, axis)
            dead = search.dead()
            for index in dead.nonzero().flatten().tolist() if self._wakes(tensor, axis, dead) else ():
                dead[index] = not self._wakes(tensor, axis, torch.arange(dead.numel()) == index)
            if bool(dead.any()) and not bool(dead.all()):
                found.append(Unused(axis, dead, _edge(search.amounts, dead), dead))
        return found

    def _wakes(self, tensor: Tensor, axis: int, flags: Tensor) -> bool:
        """Whether these indices matter under other draws or in train mode, as with teacher forcing."""
        part = flags.nonzero().flatten().to(tensor.device)
        return len(part) > 0 and any(
            self._moves(tensor, other, look, look % 2 == 1)
            for other in self.replacements(tensor, part, axis)
            for look in _LOOKS
        )

    def _mode(self, training: bool) -> Any:  # noqa: FBT001
        return self.rig.undisturbed(training=training)


class _Lookups(TorchFunctionMode):
    """Starts the graph anew at every embedding in which one of these tensors is looked up."""

    def __init__(self, whole: dict[int, Tensor]) -> None:
        super().__init__()
        self.whole = whole
        self.found: list[tuple[int, Tensor]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        result = func(*args, **(kwargs or {}))
        if func is not F.embedding or not self.whole:
            return result
        ids = args[0] if args else (kwargs or {}).get("input")
        index = next((i for i, t in self.whole.items() if _same(t, ids)), None)
        if index is None:
            return result
        leaf = result.detach().requires_grad_()
        self.found.append((index, leaf))
        return leaf * 1


class _Search:
    """Looks for unused indices of one axis with few calls: one by one, or in blocks."""

    def __init__(self, influence: Influence, tensor: Tensor, axis: int) -> None:
        self.influence, self.tensor, self.axis = influence, tensor, axis
        self.size = tensor.size(axis)
        self.amounts = torch.zeros(self.size)
        self.varies = ~_constant(tensor, axis)

    def dead(self) -> Tensor:
        flags = torch.zeros(self.size, dtype=torch.bool)
        count = self.size if self.size <= _EACH else _BLOCKS
        rims = torch.linspace(0, self.size, count + 1).round().long().tolist()
        blocks = list(pairwise(rims))
        for first, last in blocks:
            flags[first:last] = self.unused(first, last)
        if self.size > _EACH:
            for first, last in blocks:
                if not bool(flags[first]):
                    self._walk(flags, range(first, last), at_rim=first == 0 or bool(flags[first - 1]))
                    back = range(last - 1, first - 1, -1)
                    at_rim = last == self.size or bool(flags[last])
                    self._walk(flags, back, at_rim=at_rim)
        return flags & self.varies

    def _walk(self, flags: Tensor, indices: range, *, at_rim: bool) -> None:
        for index in indices if at_rim else ():
            if not self.unused(index, index + 1):
                return
            flags[index] = True

    def unused(self, first: int, last: int) -> bool:
        part = torch.arange(first, last, device=self.tensor.device)
        replaced = list(self.influence.replacements(self.tensor, part, self.axis))
        inputs = [self.influence.entry.with_tensor(self.tensor, other) for other in replaced]
        amounts = [self.influence.change(given) for given in inputs]
        self.amounts[first:last] = torch.maximum(
            self.amounts[first:last], torch.tensor(max(amounts, default=0.0))
        )
        return bool(amounts) and max(amounts) <= self.influence.same


def is_flags(tensor: Tensor) -> bool:
    """Whether it holds two values at most, as masks do."""
    if tensor.dtype == torch.bool:
        return True
    first = tensor.flatten()[:1]
    rest = tensor[tensor != first]
    return not rest.numel() or bool((rest == rest[0]).all())


def _same(one: Tensor, other: Any) -> bool:
    return isinstance(other, Tensor) and one.shape == other.shape and torch.equal(one, other)


def silent_along(zero: Tensor, axis: int) -> Tensor:
    """Which indices of an axis are zero throughout."""
    return zero.movedim(axis, 0).flatten(1).all(1).cpu()


def _constant(tensor: Tensor, axis: int) -> Tensor:
    rows = tensor.movedim(axis, 0).flatten(1)
    return (rows == rows[:, :1]).all(1).cpu()


def _edge(amounts: Tensor, dead: Tensor) -> float:
    amounts, used = amounts.cpu(), ~dead
    largest = float(amounts.max())
    ahead, behind = (torch.zeros_like(dead) for _ in range(2))
    ahead[:-1], behind[1:] = dead[1:], dead[:-1]
    beside = used & (ahead | behind)
    near = amounts[beside if bool(beside.any()) else used]
    return float(near.max()) / largest if largest > 0 and near.numel() else 1.0
