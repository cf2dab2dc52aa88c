"""What a loop chooses from a model's outputs where there is but one to choose from. No judgement.

Outputs are told by the last values of those that have a single column, kept from one call to the next.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling

from pytest_dlcheck.run.code.lines import line_of_the_loop
from pytest_dlcheck.run.tensors.tree import named_tensors
from pytest_dlcheck.run.watch.compiling import Compilation
from pytest_dlcheck.run.watch.guard import Guard
from pytest_dlcheck.run.watch.taps.once import Once
from pytest_dlcheck.trace import Row

MODELS = 8
"""Models whose outputs are told apart."""
OUTPUTS = 8
"""Tensors of an output that are looked at."""
TAIL = 64
"""Values of a column that are kept: the last ones, which are the last of a whole epoch's as well."""
IN_ORDER = 8
"""Values that are not in one order by chance: 2 / 8! of pairs of random columns are."""
CURIOUS = 16
"""Training calls whose outputs are noted once something was chosen from an unknown single column."""
CLASS_AXES = {2: 1, 3: 2, 4: 1, 5: 1}
"""By the number of axes, that of the classes: rows, sequences, images, volumes."""


@dataclass(frozen=True)
class _Column:
    place: int
    values: Tensor
    is_alone: bool
    """Whether it is all that the model gives, or what it calls its logits."""
    memory: int
    size: int

    def is_in(self, scores: Tensor) -> bool:
        """Whether these are it: in its memory, or of another size, as those of a whole epoch are."""
        return self.memory == _memory(scores) or self.size < scores.numel()


@dataclass
class _Model:
    model: weakref.ref[nn.Module]
    name: str
    keys: frozenset[int]
    shapes: list[torch.Size]
    latest: list[_Column] = field(default_factory=list)
    wide: set[int] = field(default_factory=set)
    """Places in the output that have had several columns."""
    calls: int = 0
    answers: int = 0
    places: set[int] = field(default_factory=set)
    is_alone: bool = True
    shape: tuple[int, ...] = ()
    line: str = ""


class Scores:
    """Hears what is chosen along axes of size 1, and notes the outputs of models that are evaluated.

    Args:
        guard: stands before what models call.
        compilation: during which nothing is noted.
    """

    def __init__(self, guard: Guard, compilation: Compilation) -> None:
        self._guard, self._compilation = guard, compilation
        self._known: dict[int, _Model] = {}
        self.curious, self._was_curious = 0, False
        """Training calls whose outputs are still to be noted, and whether there ever were such."""

    def called(self, module: nn.Module, *, to_train: bool) -> None:
        """A module is called from outside: note what it gives, where it is evaluated or might be."""
        if to_train and not self.curious:
            return
        if self._compilation.is_at_work or isinstance(module, torch.jit.ScriptModule):
            return
        self.curious -= to_train
        known = self._known.get(id(module))
        if known is None or known.model() is not module:
            if len(self._known) >= MODELS:
                return
            parameters = list(module.parameters())
            known = self._known[id(module)] = _Model(
                weakref.ref(module),
                type(module).__name__,
                frozenset(map(id, parameters)),
                [p.shape for p in parameters],
            )
        Once(module, self._guard(partial(_note, known)))

    def chosen_among_one(self, scores: Tensor, axis: int, *, gives_values: bool) -> None:
        """The best was chosen along an axis of size 1.

        Where its value was asked for, it may be that of an ensemble of one, put together anew: only an
        output as the model gave it counts, or those of several calls.
        """
        if CLASS_AXES.get(scores.dim()) != axis or not _is_usable(scores):
            return
        values = _tail(scores)
        for known in self._known.values():
            for column in known.latest:
                if gives_values and not column.is_in(scores):
                    continue
                if _is_made_of(values, column.values):
                    known.calls += 1
                    known.answers += scores.numel()
                    known.places.add(column.place)
                    known.is_alone &= column.is_alone
                    known.shape = tuple(scores.shape)
                    known.line = known.line or line_of_the_loop()
                    return
        if not self._was_curious:
            self.curious, self._was_curious = CURIOUS, True

    def rows(self, keys: set[int], shapes: Sequence[torch.Size]) -> tuple[Row, ...]:
        """A row per model that was answered for so.

        Args:
            keys: the parameters, by identity, that are trained.
            shapes: those of the trained model's parameters: averages of it have the same.
        """
        return tuple(
            Row(
                model=known.name,
                calls=known.calls,
                answers=known.answers,
                is_alone=known.is_alone,
                shape=str(list(known.shape)),
                line=known.line,
            )
            for known in self._known.values()
            if known.calls
            and not known.places & known.wide
            and (known.keys & keys or known.shapes == list(shapes))
        )


def _note(model: _Model, output: object) -> None:
    found = list(_named(output))
    model.latest = []
    for place, (name, tensor) in enumerate(found[:OUTPUTS]):
        axis = CLASS_AXES.get(tensor.dim())
        if axis is None or not _is_usable(tensor):
            continue
        if tensor.shape[axis] > 1:
            model.wide.add(place)
        else:
            is_alone = len(found) == 1 or name.endswith("logits")
            column = _Column(place, _tail(tensor), is_alone, _memory(tensor), tensor.numel())
            model.latest.append(column)


def _named(output: Any) -> Iterator[tuple[str, Tensor]]:
    return ((name, t) for name, t in named_tensors(output, "") if t.is_floating_point())


def _is_usable(tensor: Tensor) -> bool:
    if is_compiling() or _is_tracing() or not tensor.is_floating_point():
        return False
    plain = tensor.layout == torch.strided and tensor.device.type in {"cpu", "cuda"}
    captured = tensor.is_cuda and torch.cuda.is_current_stream_capturing()
    wrapped = torch._C._functorch.maybe_get_level(tensor) >= 0  # noqa: SLF001  vmap and grad
    return plain and not captured and not wrapped and tensor.numel() > 1 and type(tensor) in _PLAIN


_PLAIN = frozenset({Tensor, nn.Parameter})


def _is_tracing() -> bool:
    return torch._C._get_tracing_state() is not None  # noqa: SLF001  torch.jit.is_tracing is not typed


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _tail(tensor: Tensor) -> Tensor:
    with torch.no_grad():
        return tensor.detach().reshape(-1)[-TAIL:].clone()


def _is_made_of(values: Tensor, column: Tensor) -> bool:
    """Whether the last values are a column's, or a function of them that keeps or turns the order."""
    count = len(column)
    if len(values) < count:
        return False
    with torch.no_grad():
        values, column = values[-count:].cpu().float(), column.cpu().float()
        if torch.equal(values, column):
            return True
        steps = values[column.argsort()].diff()
        return count >= IN_ORDER and bool((steps >= 0).all() or (steps <= 0).all())
