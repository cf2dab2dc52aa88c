"""Does the same input give the same output twice in eval mode?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import takewhile
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.calls.operations import Operation, operations
from pytest_dlcheck.run.calls.randomness import effect, limit
from pytest_dlcheck.run.calls.witness import witnessed
from pytest_dlcheck.run.data.own_draws import held, of_model, standing
from pytest_dlcheck.run.errors import CannotTellError
from pytest_dlcheck.run.experiment import Experiment
from pytest_dlcheck.run.passes.carried import goes_on_by_place, is_shuffled
from pytest_dlcheck.run.passes.stirring import stirred
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.compare import relative_change
from pytest_dlcheck.run.tensors.tree import batch_size, named_tensors, take, tensors
from pytest_dlcheck.run.world.seeding import random_states, same_draws
from pytest_dlcheck.trace import Row

_SAMPLES = 4
_REDRAWS = 59
"""Calls under other draws, where draws are made and the outputs agree: a path that is dropped in one of
twenty calls is then missed once in twenty times, one that is dropped in one of ten, once in 500."""
_LEAST, _SECONDS = 12, 3.0
"""Calls that are made however long they take, and seconds after which no more are."""
_OF_ANY_MODULE = frozenset(vars(nn.Module()))


class Repeat(Experiment):
    """Calls the model repeatedly on one batch in eval mode, under other and under the same draws.

    Fills ``repeat``, one row: the relative ``change`` between calls, its ``bound``, ``draws`` (whether
    random numbers are drawn at all), how many ``calls`` were made, and where they differ the operation
    that draws, its module and line, and its ``kind``: what ``run.randomness`` tells (``skipping`` where
    that is modules), or ``state``: ``across_batches`` where samples go on where others ended, in random
    order. ``predicts`` tells recipes whose targets are not their inputs.
    """

    fact = "repeat"

    def run(self, rig: Rig) -> Iterable[Row]:
        """The row."""
        with (
            rig.undisturbed(training=False),
            stirred(rig),  # a branch that starts at zero would hide what happens in it
            rig.autocast(),
            torch.no_grad(),
        ):
            return [told_of(rig)]


def told_of(rig: Rig) -> Row:
    """The row, of the model as it is; call it in eval mode, inside ``rig.undisturbed()``.

    Raises:
        CannotTellError: nothing can be compared.
    """
    return _Trial(rig).row()


class _Trial:
    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.inputs = _few(rig)
        self.draws, self.other = False, 1
        self.own = of_model(rig.model)

    def call(self, seed: int = 0) -> Any:
        with same_draws(self.rig.seed + seed), held(self.own, self.rig.seed + seed):
            before = random_states(), standing(self.own)
            outputs = self.rig.call(self.inputs)
            self.draws = (random_states(), standing(self.own)) != before
            return outputs

    def first(self) -> Any:
        """The outputs of a few samples, or of all: a model may insist on one batch size."""
        try:
            return self.call()
        except Exception:
            if self.inputs is (whole := self.rig.call.inputs):
                raise
            self.inputs = whole
            return self.call()

    def redrawn(self, one: dict[str, Tensor]) -> tuple[float, str, float]:
        """The outputs under other draws, until they differ from those under the first."""
        worst, began = _worst(one, self.call(self.other)), perf_counter()
        while worst[0] <= worst[2] and self.draws and self.other < _REDRAWS:
            if self.other >= _LEAST and perf_counter() - began > _SECONDS:
                break
            self.other += 1
            worst = _worst(one, self.call(self.other))
        return worst

    def row(self) -> Row:
        one = dict(named_tensors(self.first(), "output"))
        if not one:
            raise CannotTellError("the model gives no tensor that could be compared")
        state = _Attributes(self.rig.model)
        redrawn = self.redrawn(one)
        if redrawn[0] <= redrawn[2]:
            return self.told(redrawn)
        again = self.call()
        carried = state.changed()
        same = _worst(one, again)[0]
        change, place, bound = max(_worst(one, again), redrawn, key=_beyond)
        row = self.told((change, place, bound))
        if same > limit(one[place]) and carried:
            goes_on = is_shuffled(self.rig) and goes_on_by_place(self.rig, carried)
            where = {"culprit": carried[0][0], "attribute": carried[0][1]}
            return Row(row, kind="state", across_batches=goes_on, **where)
        if same > limit(one[place]):
            return Row(row, kind="state", culprit="", attribute="something")
        where = self.place()
        if self.rig.call.whole_step and not where["culprit"]:
            raise CannotTellError("the training step itself draws, outside of any module")
        return Row(row, **where)

    def told(self, worst: tuple[float, str, float]) -> Row:
        change, place, bound = worst
        return Row(
            output=place,
            change=change,
            bound=bound,
            device=self.rig.device.type,
            draws=self.draws,
            calls=self.other + 1,
        )

    def place(self) -> dict[str, Any]:
        """Where it differs first, and how."""
        try:
            seeds = (0, self.other)
            with torch.enable_grad():
                one, other = (operations(self.rig.model, partial(self.call, s)) for s in seeds)
            skipping = _skipped(*(_names(self.rig.model, partial(self.call, s)) for s in seeds))
        except Exception:  # noqa: BLE001  some modules refuse hooks; then the place is not known
            return {"kind": "noise", "culprit": None}
        found = effect(one, other)
        kind: str = found.kind
        if kind == "branching" and skipping is not None:
            return {"kind": "skipping", "culprit": skipping, **_told(found.operation)}
        if found.operation is None:
            return {"kind": kind, "culprit": None}
        module = self.rig.model.get_submodule(found.operation.module)
        return {
            "kind": kind,
            "culprit": found.operation.module,
            "culprit_type": type(module).__name__,
            "culprit_training": module.training,
            "predicts": self.predicts(),
            **_told(found.operation),
        }

    def predicts(self) -> bool:
        """Whether outputs are held against targets that are not the inputs again."""
        if self.rig.recipe.loss is None:
            return False
        targets = tensors(self.rig.objective.targets(self.rig.batch))
        given = tensors(self.rig.call.inputs)
        return bool(targets) and not any(
            a.shape == b.shape and torch.equal(a, b) for a in targets for b in given
        )


def _told(found: Operation | None) -> dict[str, Any]:
    return {} if found is None else {"operation": found.name, "line": found.line}


def _skipped(one: list[str], other: list[str]) -> str | None:
    """The module inside which other modules were called the second time; None where none were."""
    for a, b in zip(one, other, strict=False):
        if a != b:
            pairs = zip(a.split("."), b.split("."), strict=False)
            return ".".join(x for x, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return None if len(one) == len(other) else ""


class _Attributes:
    """Tensors that modules hold beside their parameters, to see which of them a call changes."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.before = self._held()

    def changed(self) -> list[tuple[str, str]]:
        """Module and attribute of those that differ now."""
        return [
            place
            for place, values in self._held().items()
            if not _alike(values, self.before.get(place, []))
        ]

    def _held(self) -> dict[tuple[str, str], list[Tensor]]:
        return {
            (name, attribute): [t.detach().clone() for t in numbers]
            for name, module in self.model.named_modules()
            for attribute, value in _named_parts(module)
            if (numbers := _numbers(value))
        }


def _named_parts(module: nn.Module) -> Iterator[tuple[str, Any]]:
    parts = {**vars(module), **module._buffers, **module._parameters}  # noqa: SLF001
    return ((name, value) for name, value in parts.items() if name not in _OF_ANY_MODULE)


def _numbers(value: Any) -> list[Tensor]:
    if type(value) in {int, float}:
        return [torch.tensor([float(value)])]
    return tensors(value)


def _few(rig: Rig) -> Any:
    inputs, dim = rig.call.inputs, rig.input_batch_dim
    size = None if dim is None else batch_size(inputs, dim)
    if dim is None or size is None or size <= _SAMPLES:
        return inputs
    return take(inputs, torch.linspace(0, size - 1, _SAMPLES).round().long(), dim)


def _names(model: nn.Module, call: Callable[[], object]) -> list[str]:
    return [found.name for found in witnessed(model, call)]


def _worst(one: dict[str, Tensor], outputs: Any) -> tuple[float, str, float]:
    other = dict(named_tensors(outputs, "output"))
    found = [
        (relative_change(a, other[place]) if place in other else 1.0, place, limit(a))
        for place, a in one.items()
    ]
    return max(found, key=_beyond)


def _beyond(found: tuple[float, str, float]) -> float:
    change, _, bound = found
    return change / bound


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and relative_change(a, b) <= limit(a)


def _alike(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(_equal(a, b) for a, b in zip(one, other, strict=True))
