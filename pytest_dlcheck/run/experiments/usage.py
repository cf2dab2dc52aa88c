"""Do all inputs, and all their parts, reach the outputs? And where are those lost that do not?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.calls.dropping import dropped
from pytest_dlcheck.run.errors import CannotTellError
from pytest_dlcheck.run.experiment import Experiment
from pytest_dlcheck.run.passes.entry import Entry, entry
from pytest_dlcheck.run.passes.influence import Influence, Unused, is_flags, silent_along
from pytest_dlcheck.run.passes.stirring import stirred
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import batch_size, take
from pytest_dlcheck.trace import Row

_SAMPLES = 4
"""Few, because models run in double precision here, and what is suspicious is looked at again."""
_CHANNELS = 4
"""Channels of an image, at most, where they are the last axis."""
_SEQUENTIAL = (nn.RNNBase, nn.RNNCellBase, nn.Conv1d, nn.MultiheadAttention, nn.Embedding)
_WORDS = {
    1: ("features",),
    2: ("time steps", "features"),
    3: ("channels", "rows", "columns"),
    4: ("channels", "frames", "rows", "columns"),
}
_ROLES = {"features": "feature", "channels": "feature", "time steps": "time", "positions": "time"}


class Usage(Experiment):
    """Perturbs inputs in eval mode, zero-initialised parameters stirred.

    In double precision, unless a gradient reaches every part of every input in the model's own.

    Fills ``usage``: a row per input tensor (``part`` is ``tensor``), and a row per axis of one along
    which some indices influence nothing (``part`` is ``axis``).
    """

    fact = "usage"

    def run(self, rig: Rig) -> Iterable[Row]:
        """The rows."""
        with rig.undisturbed(training=False), stirred(rig):
            whole = entry(rig)
            if not list(whole.named()):
                raise CannotTellError("the model is called without a tensor")
            with suppress(CannotTellError):
                plain = _Trial(rig, whole, whole.function)
                if plain.all_is_used():
                    return list(plain.rows())
            with rig.in_double(whole.function) as function:
                return list(_Trial(rig, whole, function).rows())


class _Trial:
    def __init__(self, rig: Rig, whole: Entry, function: Any) -> None:
        self.rig, self.whole = rig, whole
        self.influence = Influence(rig, self._taken(whole, _SAMPLES), function)
        self.slopes = self.influence.slopes(self.influence.entry.inputs)
        if self.slopes is None and not self.runs():
            self.influence = Influence(rig, whole, function)
            self.slopes = self.influence.slopes(whole.inputs)
        self.named = list(self.influence.entry.named())

    def runs(self) -> bool:
        """Whether a few samples do; a model may insist on its whole batch."""
        try:
            self.influence.outputs(self.influence.entry.inputs)
        except CannotTellError:
            raise
        except Exception:  # noqa: BLE001  the user's model may refuse in any way
            return False
        return True

    def _taken(self, given: Entry, count: int) -> Entry:
        dim = self.rig.input_batch_dim
        size = None if dim is None else batch_size(given.inputs, dim)
        if dim is None or size is None or size <= count:
            return given
        few = take(given.inputs, torch.linspace(0, size - 1, count).round().long(), dim)
        return replace(given, inputs=few)

    def all_is_used(self) -> bool:
        """Whether a gradient reaches every part of every input, so that nothing is left to be tried."""
        slopes = self.slopes or {}
        return all(
            self._is_used(tensor, slopes.get(index)) for index, (_, tensor) in enumerate(self.named)
        )

    def _is_used(self, tensor: Tensor, slope: Tensor | None) -> bool:
        if slope is None or not bool(slope.any()):
            return False
        if tensor.is_floating_point():
            return not any(bool(silent_along(slope == 0, axis).any()) for axis in self.axes(tensor))
        return bool(slope.ne(0).any(self.rig.input_batch_dim or 0).all())

    def rows(self) -> Iterator[Row]:
        slopes = self.slopes or {}
        told = [self.row(index, slopes.get(index)) for index in range(len(self.named))]
        for index, row in enumerate(told):
            yield row
            if row.flag("used") and row.text("kind") != "flags":
                yield from self.parts(index, slopes.get(index))
                yield from self.cut(index, slopes.get(index))

    def row(self, index: int, slope: Tensor | None) -> Row:
        name, tensor = self.named[index]
        used = slope is not None and bool(slope.any())
        told: bool | None = used
        if not used:
            told = self.influence.reaches(tensor)
            told = self.influence.reaches(tensor, surely=True) if told is False else told
        lost = {} if told is not False else self.place(tensor, slice(None), 0)
        return Row(
            part="tensor",
            input=name,
            index=index,
            kind=self.kind(name, tensor),
            shape=str(tuple(tensor.shape)),
            told=told is not None,
            used=told is True,
            swallowed=_root(name) in self.influence.entry.swallowed,
            hidden=_root(name).startswith("_"),
            **lost,
        )

    def kind(self, name: str, tensor: Tensor) -> str:
        """What its values are; told by the whole batch, as few samples may hold two values by chance."""
        return _kind(next((t for other, t in self.whole.named() if other == name), tensor))

    def parts(self, index: int, slope: Tensor | None) -> Iterator[Row]:
        name, tensor = self.named[index]
        axes = self.axes(tensor)
        if slope is not None and tensor.is_floating_point() and bool(slope.any()):
            found = self.influence.unused_by_slope(index, tensor, slope, axes)
        elif slope is not None and bool(slope.ne(0).any(self.rig.input_batch_dim or 0).all()):
            found = []
        else:
            found = self.influence.unused_by_value(tensor, axes)
        for unused in found:
            words = self.words(tensor)[unused.axis]
            indices = unused.dead.nonzero().flatten()
            yield Row(
                part="axis",
                input=name,
                index=index,
                axis=unused.axis,
                words=words,
                role=_ROLES.get(words, "place"),
                size=unused.dead.numel(),
                count=len(indices),
                share=float(unused.dead.double().mean()),
                pattern=_pattern(unused.silent),
                which=_ranges(unused.dead),
                edge=unused.edge,
                per_step=self.follows(tensor, unused),
                masked=self.is_masked(tensor, unused),
                convolves=any(isinstance(m, nn.modules.conv._ConvNd) for m in self.rig.model.modules()),  # noqa: SLF001
                **self.place(tensor, indices.to(tensor.device), unused.axis),
            )

    def cut(self, index: int, slope: Tensor | None) -> Iterator[Row]:
        """Steps before the last one that change the outputs and from which no gradient comes back."""
        name, tensor = self.named[index]
        if slope is None or slope.shape != tensor.shape[: slope.dim()] or not bool(slope.any()):
            return
        for axis in self.axes(tensor):
            words = self.words(tensor)[axis]
            if _ROLES.get(words) != "time" or axis >= slope.dim() or tensor.size(axis) <= _SAMPLES:
                continue
            if self.influence.is_cut_before_the_last(tensor, slope, axis):
                yield Row(part="cut", input=name, index=index, words=words, size=tensor.size(axis))

    def axes(self, tensor: Tensor) -> list[int]:
        """The axes whose indices stand for something: not samples, not the nodes of a graph."""
        dim = self.rig.input_batch_dim
        if dim is None:
            return [tensor.dim() - 1] if tensor.dim() > 1 and tensor.is_floating_point() else []
        if tensor.dim() <= dim or tensor.size(dim) != batch_size(self.influence.entry.inputs, dim):
            return []
        return [axis for axis in range(tensor.dim()) if axis != dim and tensor.size(axis) > 1]

    def words(self, tensor: Tensor) -> dict[int, str]:
        """What the indices of each axis are called."""
        dim = self.rig.input_batch_dim
        axes = [axis for axis in range(tensor.dim()) if axis != (0 if dim is None else dim)]
        words = list(_WORDS.get(len(axes), (f"indices of axis {axis}" for axis in axes)))
        sequential = any(isinstance(m, _SEQUENTIAL) for m in self.rig.model.modules())
        if len(axes) == 1 and (not tensor.is_floating_point() or sequential):
            words = ["features" if self.looks_up_columns() else "positions"]
        if len(axes) == 2 and self.channels_first(tensor.size(axes[0])):  # noqa: PLR2004
            words = ["channels", "time steps"]
        if len(axes) == 3 and tensor.size(axes[-1]) <= _CHANNELS < tensor.size(axes[0]):  # noqa: PLR2004
            words = ["rows", "columns", "channels"]
        named = dict(zip(axes, words, strict=True))
        if self.rig.recipe.causal in named:
            named[self.rig.recipe.causal] = "time steps"
        return named

    def looks_up_columns(self) -> bool:
        """Whether every embedding is asked for one number a sample: a table, not a sequence."""
        asked: list[int] = []

        def keep(_: nn.Module, args: tuple[Any, ...]) -> None:
            asked.extend(part.dim() for part in args[:1] if isinstance(part, Tensor))

        tables = [m for m in self.rig.model.modules() if isinstance(m, nn.Embedding)]
        handles = [module.register_forward_pre_hook(keep) for module in tables]
        try:
            self.influence.outputs(self.influence.entry.inputs)
        finally:
            for handle in handles:
                handle.remove()
        return bool(asked) and set(asked) == {1}

    def channels_first(self, size: int) -> bool:
        return any(isinstance(m, nn.Conv1d) and m.in_channels == size for m in self.rig.model.modules())

    def follows(self, tensor: Tensor, unused: Unused) -> bool:
        """Whether an output has that axis too, at most one shorter: predictions per step."""
        size = tensor.size(unused.axis)
        outputs = self.influence.outputs(self.influence.entry.inputs)
        return any(
            out.dim() > unused.axis and out.size(unused.axis) in {size, size - 1}
            for out in outputs.values()
        )

    def is_masked(self, tensor: Tensor, unused: Unused) -> bool:
        """Whether another input says that these indices are padding in every sample."""
        dead, size = unused.dead, unused.dead.numel()
        first = int(dead.nonzero()[0])
        for _, other in self.named:
            if other is tensor:
                continue
            for axis in range(other.dim()) if is_flags(other) else ():
                if other.size(axis) == size:
                    flags = other.movedim(axis, 0).cpu()[dead]
                    if bool((flags == flags.flatten()[0]).all()):
                        return True
            lengths = other.dim() == 1 and not other.is_floating_point()
            if lengths and 0 < int(other.max()) <= first:
                return True
        return False

    def place(self, tensor: Tensor, part: Any, axis: int) -> dict[str, Any]:
        """Where the values are lost that reach nothing."""
        other = next(self.influence.replacements(tensor, part, axis), None)
        if other is None:
            return {}
        given = (self.influence.entry.inputs, self.influence.entry.with_tensor(tensor, other))
        calls = [partial(self.influence.outputs, inputs) for inputs in given]
        return dropped(self.rig.model, calls, tensor)


def _kind(tensor: Tensor) -> str:
    if is_flags(tensor):
        return "flags"
    return "float" if tensor.is_floating_point() else "integer"


def _root(name: str) -> str:
    return name.split(".", maxsplit=1)[0].split("[", maxsplit=1)[0]


def _pattern(dead: Tensor) -> str:
    runs, end = list(_runs(dead)), dead.numel() - 1
    head, tail = runs[0][0] == 0, runs[-1][1] == end
    if len(runs) == 1:
        return "head" if head else "tail" if tail else "inner"
    return "both ends" if head and tail and len(runs) == len(("head", "tail")) else "scattered"


def _ranges(dead: Tensor) -> str:
    runs: Sequence[tuple[int, int]] = list(_runs(dead))
    texts = [str(a) if a == b else f"{a} to {b}" for a, b in runs[:4]]
    return ", ".join(texts) + (", ..." if len(runs) > 4 else "")  # noqa: PLR2004


def _runs(dead: Tensor) -> Iterator[tuple[int, int]]:
    start = None
    for index, flag in enumerate([*dead.tolist(), False]):
        if flag and start is None:
            start = index
        elif not flag and start is not None:
            yield start, index - 1
            start = None
