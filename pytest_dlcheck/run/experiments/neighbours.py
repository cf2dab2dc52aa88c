"""Does a sample's output change when the others in its batch do?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.calls.operations import Operation, mixing, operations
from pytest_dlcheck.run.calls.witness import ModuleCall, culprit
from pytest_dlcheck.run.errors import CannotTellError, NotApplicableError
from pytest_dlcheck.run.experiment import Experiment
from pytest_dlcheck.run.passes.stirring import stirred
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.compare import (
    calibrate,
    float_outputs,
    relative_change,
    tolerance,
)
from pytest_dlcheck.run.tensors.tree import batch_size, copied, map_tensors, take, tensors
from pytest_dlcheck.run.world.seeding import same_draws
from pytest_dlcheck.trace import Row

_SAMPLES = (7, 6, 5, 8, 4, 3, 2)
"""Samples in the batch that is tried: few, because models run in double precision here, and a number
that divides the length of no other axis of the inputs, so that the axis of samples is known by it."""


@dataclass(frozen=True)
class _Change:
    """A change of the batch that must leave some samples' outputs alone."""

    name: str
    order: list[int]
    before: list[int]
    after: list[int]


@dataclass(frozen=True)
class _Layout:
    """Where an output tensor keeps its samples: ``per`` rows each along ``axis``."""

    axis: int
    per: int = 1
    sample_major: bool = True

    def rows(self, tensor: Tensor, samples: list[int]) -> Tensor:
        rows = tensor.movedim(self.axis, 0)
        if self.per > 1:
            sizes = (-1, self.per) if self.sample_major else (self.per, -1)
            rows = rows.reshape(*sizes, *rows.shape[1:])
            rows = rows if self.sample_major else rows.transpose(0, 1)
        return rows[samples]


class Neighbours(Experiment):
    """Replaces and reorders the other samples, in eval mode.

    In double precision, unless outputs in float32 keep to the bound of float64.

    Fills ``neighbours``, one row: the largest relative ``change`` of an output of a sample that was
    kept, its ``bound``, and the first module at fault.
    """

    fact = "neighbours"

    def run(self, rig: Rig) -> Iterable[Row]:
        """The row."""
        if rig.recipe.batch_dim is None:
            raise NotApplicableError("samples do not stand alone (batch_dim=None)")
        dim = rig.input_batch_dim or 0
        with rig.undisturbed(training=False), stirred(rig):
            with suppress(CannotTellError):
                if row := _Trial(rig, rig.call.function, dim).plainly_apart():
                    return [row]
            with rig.in_double() as function:
                return [_Trial(rig, function, dim).row()]


class _Trial:
    def __init__(self, rig: Rig, function: Callable[[Any], Any], dim: int) -> None:
        self.rig, self.function, self.dim = rig, function, dim
        self.inputs = rig.call.inputs
        size = batch_size(self.inputs, dim)
        if size == 1:
            self.inputs, size = _gathered(rig, dim)
        if size is None and tensors(self.inputs):
            raise NotApplicableError("samples cannot be taken out of a batch one by one")
        if size is None or size < 2:  # noqa: PLR2004
            raise CannotTellError(f"the batch holds {size or 'no'} sample: there is no neighbour")
        self.size = _count(size, self.inputs, dim)
        self.samples = torch.linspace(0, size - 1, self.size).round().long()
        self.whole = list(range(self.size))

    def batch(self, order: list[int]) -> Any:
        return take(self.inputs, self.samples[order], self.dim)

    def call(self, order: list[int], seed: int = 0) -> dict[str, Tensor]:
        with same_draws(self.rig.seed + seed):
            return float_outputs(self.function(self.batch(order)))

    def reference(self) -> dict[str, Tensor]:
        calibrate(self.rig.model, lambda: self.function(self.batch(self.whole)))
        return self.call(self.whole)

    def plainly_apart(self) -> Row | None:
        """The row where float32 keeps to the bound of float64; None where it does not tell."""
        if self.size <= 2:  # noqa: PLR2004
            return None
        reference, bound = self.reference(), tolerance(torch.float64)
        if any(tensor.dtype != torch.float32 for tensor in reference.values()):
            return None
        layouts = self.layouts(reference)
        row = self.quick(reference, layouts)
        alike = row.number("change") > bound or not self.are_distinct(reference, layouts)
        return None if alike else Row(row, bound=bound)

    def quick(self, reference: dict[str, Tensor], layouts: dict[str, list[_Layout]]) -> Row:
        """All changes at once, to one half of the samples and to the other; the worse of both."""
        half = self.size // 2
        rows = [
            self.compare(reference, layouts, _everything(self.size, kept))
            for kept in (self.whole[:half], self.whole[-half:])
        ]
        return Row(max(rows, key=_ratio), samples=self.size, random=False)

    def row(self) -> Row:
        reference = self.reference()
        layouts = self.layouts(reference)
        if self.size > 2:  # noqa: PLR2004
            quick = self.quick(reference, layouts)
            if _ratio(quick) <= 1:
                self.require_distinct(reference, layouts)
                return quick
        random = not _same(reference, self.call(self.whole, seed=1))
        if not _same(reference, self.call(self.whole)):
            raise CannotTellError("two calls on the same batch differ, even under the same draws")
        worst, found = Row(change=0.0, bound=tolerance(next(iter(reference.values())).dtype)), None
        one_sided = {}
        for change in _changes(self.size, random=random):
            if _equal(self.batch(self.whole), self.batch(change.order)):
                raise CannotTellError("the samples of the batch are all alike")
            row = self.compare(reference, layouts, change)
            one_sided[change.name] = row.number("change") > row.number("bound")
            if _ratio(row) > _ratio(worst) or not worst.text("output"):
                worst, found = row, change
        leaks = found is not None and _ratio(worst) > 1
        if not leaks:
            self.require_distinct(reference, layouts)
        guilty = self.culprit(found) if leaks and found is not None else None
        if leaks and guilty is None and self.rig.call.whole_step:
            raise CannotTellError("samples meet in the training step itself, outside of any module")
        operation = self.operation(found, guilty) if guilty is not None and found else None
        return Row(
            {**worst, **_described(guilty)},
            operation=None if operation is None else operation.name,
            line=None if operation is None else operation.line,
            samples=self.size,
            random=random,
            only_from_earlier=one_sided.get("earlier") is True and not one_sided.get("later"),
            only_by_place=one_sided.get("order") is True
            and not (one_sided.get("earlier") or one_sided.get("later")),
        )

    def layouts(self, reference: dict[str, Tensor]) -> dict[str, list[_Layout]]:
        """Where each output keeps its samples: the axis that shrinks with the batch."""
        if self.dim == 0 and all(_is_plain(t, self.size) for t in reference.values()):
            return {place: [_Layout(0)] for place in reference}
        fewer = self.size - 1 if self.size > 2 else self.size + 1  # noqa: PLR2004
        order = [i % self.size for i in range(fewer)]
        try:
            smaller = self.call(order)
        except Exception:  # noqa: BLE001  a model may insist on one batch size
            smaller = {}
        found = {
            place: _layouts(tensor, smaller.get(place), self.size, fewer)
            for place, tensor in reference.items()
        }
        found = {place: layouts for place, layouts in found.items() if layouts}
        if not found:
            shapes = ", ".join(f"{p} {tuple(t.shape)}" for p, t in reference.items())
            raise CannotTellError(f"no axis of the outputs follows the batch size: {shapes}")
        return found

    def require_distinct(self, reference: dict[str, Tensor], layouts: dict[str, list[_Layout]]) -> None:
        if not self.are_distinct(reference, layouts):
            raise CannotTellError("every sample has the same output: a leak could not be seen")

    def are_distinct(self, reference: dict[str, Tensor], layouts: dict[str, list[_Layout]]) -> bool:
        each = (options[0].rows(reference[place], self.whole) for place, options in layouts.items())
        return any(relative_change(rows, rows.roll(1, 0)) > tolerance(rows.dtype) for rows in each)

    def compare(
        self, reference: dict[str, Tensor], layouts: dict[str, list[_Layout]], change: _Change
    ) -> Row:
        outputs, worst = self.call(change.order), Row()
        for place, options in layouts.items():
            a, b = reference[place], outputs.get(place)
            if b is None or a.shape != b.shape:
                raise CannotTellError(f"the shape of {place} follows the contents of the batch")
            amount = min(
                relative_change(o.rows(a, change.before), o.rows(b, change.after)) for o in options
            )
            row = Row(
                output=place,
                change=amount,
                bound=tolerance(a.dtype),
                precision=str(a.dtype).removeprefix("torch."),
                changed=change.name,
            )
            if not worst or _ratio(row) > _ratio(worst):
                worst = row
        return worst

    def culprit(self, change: _Change) -> ModuleCall | None:
        def agrees(a: Tensor, b: Tensor) -> bool | None:
            if a.shape != b.shape:
                return None
            axis = self.axis_of(a)
            if axis is None:
                return True if relative_change(a, b) == 0 else None
            one, other = a.movedim(axis, 0)[change.before], b.movedim(axis, 0)[change.after]
            dtype = a.dtype if a.is_floating_point() else torch.float64
            return relative_change(one, other) <= tolerance(dtype)

        calls = (self.whole, change.order)
        return culprit(self.rig.model, [partial(self.call, order) for order in calls], agrees)

    def operation(self, change: _Change, guilty: ModuleCall) -> Operation | None:
        """The first operation in the guilty module's own forward that mixes samples.

        One that gives numbers, where there is one: packing a batch sorts lengths, and puts them back.
        """

        def agrees(a: Tensor, b: Tensor) -> bool | None:
            if a.shape != b.shape:
                return None
            bound = tolerance(a.dtype if a.is_floating_point() else torch.float64)
            options = [option for axis in range(a.dim()) for option in self.splits(a, axis)]
            return relative_change(a, b) <= bound or any(
                relative_change(o.rows(a, change.before), o.rows(b, change.after)) <= bound
                for o in options
            )

        model, orders = self.rig.model, (self.whole, change.order)
        try:
            one, other = (operations(model, partial(self.call, order)) for order in orders)
        except Exception:  # noqa: BLE001  some modules refuse hooks; then the line is not known
            return None
        found = list(mixing(one, other, agrees, guilty.name))
        numbers = (op for op in found if any(out.is_floating_point() for out in op.outputs))
        return next(numbers, found[0] if found else None)

    def splits(self, tensor: Tensor, axis: int) -> list[_Layout]:
        """The ways in which an axis may hold the samples, alone or folded with another."""
        per, rest = divmod(tensor.size(axis), self.size)
        if rest or per == 0:
            return []
        return (
            [_Layout(axis, per), _Layout(axis, per, sample_major=False)] if per > 1 else [_Layout(axis)]
        )

    def axis_of(self, tensor: Tensor) -> int | None:
        if tensor.dim() > self.dim and tensor.size(self.dim) == self.size:
            return self.dim
        axes = [i for i, size in enumerate(tensor.shape) if size == self.size]
        return axes[0] if len(axes) == 1 else None


def _count(size: int, inputs: Any, dim: int) -> int:
    """How many samples to try: a number that divides the length of no other axis, if there is one."""
    others = {n for t in tensors(inputs) for axis, n in enumerate(t.shape) if axis != dim}
    fitting = [count for count in _SAMPLES if count <= size]
    return next((c for c in fitting if all(n % c for n in others)), fitting[0])


def _is_plain(tensor: Tensor, size: int) -> bool:
    """Whether it has a row per sample on its first axis, and no other axis as long."""
    return tensor.dim() > 0 and tensor.size(0) == size and list(tensor.shape).count(size) == 1


def _gathered(rig: Rig, dim: int) -> tuple[Any, int | None]:
    """The inputs of several batches of one sample each, put together."""
    if rig.recipe.training_step is not None:
        return rig.call.inputs, 1
    batches = [copied(batch) for batch in rig.look_ahead(_SAMPLES[0])]
    nests = [rig.objective.call(batch).inputs for batch in batches]
    parts = iter(list(zip(*map(tensors, nests), strict=True)))

    def together(tensor: Tensor) -> Tensor:
        alike = next(parts)
        if tensor.dim() <= dim or tensor.size(dim) != 1:
            return tensor
        return torch.cat(alike, dim)

    try:
        return map_tensors(nests[0], together), len(nests)
    except RuntimeError:  # samples of different sizes
        return rig.call.inputs, 1


def _everything(size: int, kept: list[int]) -> _Change:
    """All changes at once: kept samples in reverse, each between others of one and the same sample."""
    order = [(kept[0] - 1) % size] * size
    places = [2 * i + 1 for i in range(len(kept))]
    for place, sample in zip(places, reversed(kept), strict=True):
        order[place] = sample
    return _Change("order", order, kept, places[::-1])


def _changes(size: int, *, random: bool) -> list[_Change]:
    half = size // 2
    first, last = list(range(half)), list(range(half, size))
    later = _Change("later", first + [first[i % half] for i in range(len(last))], first, first)
    if random:
        return [later]
    earlier = _Change("earlier", [last[i % len(last)] for i in first] + last, last, last)
    whole = list(range(size))
    return [later, earlier, _Change("order", whole[::-1], whole, whole[::-1])]


def _layouts(tensor: Tensor, other: Tensor | None, size: int, fewer: int) -> list[_Layout]:
    if other is None:
        return [_Layout(0)] if tensor.dim() and tensor.size(0) == size else []
    if other.dim() != tensor.dim():
        return []
    axes = [i for i in range(tensor.dim()) if tensor.size(i) != other.size(i)]
    if len(axes) != 1:
        return []
    axis = axes[0]
    per, rest = divmod(tensor.size(axis), size)
    if rest or per == 0 or other.size(axis) != per * fewer:
        return []
    if per == 1:
        return [_Layout(axis)]
    return [_Layout(axis, per), _Layout(axis, per, sample_major=False)]


def _described(guilty: ModuleCall | None) -> dict[str, Any]:
    if guilty is None:
        return {"culprit": None}
    module = guilty.module
    return {
        "culprit": guilty.name,
        "culprit_type": type(module).__name__,
        "culprit_training": module.training,
        "culprit_input": str(list(guilty.inputs[0].shape)) if guilty.inputs else "",
        "batch_first": getattr(module, "batch_first", None),
        "softmax_dim": getattr(module, "dim", None) if "Softmax" in type(module).__name__ else None,
        "keeps_no_statistics": getattr(module, "track_running_stats", None) is False,
    }


def _ratio(row: Row) -> float:
    return row.number("change") / row.number("bound")


def _same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        relative_change(one[place], other[place]) <= tolerance(one[place].dtype) for place in one
    )


def _equal(one: Any, other: Any) -> bool:
    pairs = zip(tensors(one), tensors(other), strict=True)
    return all(a.shape == b.shape and bool((a == b).all()) for a, b in pairs)
