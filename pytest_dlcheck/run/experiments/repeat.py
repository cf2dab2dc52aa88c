"""Does the same input give the same output twice in eval mode?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.compare import relative_change, stirred
from pytest_dlcheck.run.errors import CannotTellError
from pytest_dlcheck.run.experiment import Experiment
from pytest_dlcheck.run.noise import is_added_plainly
from pytest_dlcheck.run.operations import Operation, first_operation, operations
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.seeding import random_states, same_draws
from pytest_dlcheck.run.tree import batch_size, named_tensors, take, tensors
from pytest_dlcheck.run.witness import witnessed
from pytest_dlcheck.trace import Row

_SAMPLES = 4
_ROUNDINGS = {"cpu": 8.0}
_ROUNDINGS_ELSEWHERE = 64.0
"""Roundings of the output's dtype that repeated sums may differ by: threads on the CPU, atomics
elsewhere."""
_LARGEST_BOUND = 0.1
_ZEROED = 0.005
"""Share of elements that must be exactly zeroed before an operation counts as dropout."""
_CONSTANT = 1e-3
"""Relative spread up to which the scale of the kept elements counts as one number."""
_REDRAWS = 12
"""Calls under other draws, where draws are made and the outputs agree: a path that is dropped in one of
ten calls is then missed once in four times, one of five once in fourteen."""
_RECURRENT = frozenset({"lstm", "gru", "rnn_tanh", "rnn_relu"})


class Repeat(Experiment):
    """Calls the model repeatedly on one batch in eval mode, under other and under the same draws.

    Fills ``repeat``, one row: the relative ``change`` between calls, its ``bound``, and where it
    differs the first operation at fault, its module and line, and its ``kind``: ``zeroing`` (dropout,
    dropped paths), ``skipping`` (modules left out at random), ``noise`` or ``state``. ``plain`` tells
    noise that is added with a constant scale, in a recipe whose targets are not its inputs.
    """

    fact = "repeat"

    def run(self, rig: Rig) -> Iterable[Row]:
        """The row."""
        with (
            rig.undisturbed(training=False),
            stirred(rig.model, rig.seed),  # a branch that starts at zero would hide what happens in it
            rig.autocast(),
            torch.no_grad(),
        ):
            return [_Trial(rig).row()]


class _Trial:
    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.inputs = _few(rig)
        self.draws, self.other = False, 1

    def call(self, seed: int = 0) -> Any:
        with same_draws(self.rig.seed + seed):
            before = random_states()
            outputs = self.rig.call(self.inputs)
            self.draws = random_states() != before
            return outputs

    def redrawn(self, one: dict[str, Tensor]) -> tuple[float, str, float]:
        """The outputs under other draws, until they differ from those under the first."""
        worst = _worst(one, self.call(self.other))
        while worst[0] <= worst[2] and self.draws and self.other < _REDRAWS:
            self.other += 1
            worst = _worst(one, self.call(self.other))
        return worst

    def row(self) -> Row:
        one = dict(named_tensors(self.call(), "output"))
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
        if same > _limit(one[place]) and carried:
            return Row(row, kind="state", culprit=carried[0][0], attribute=carried[0][1])
        if same > _limit(one[place]):
            return Row(row, kind="state", culprit="", attribute="something")
        where = self.place()
        if self.rig.call.whole_step and not where["culprit"]:
            raise CannotTellError("the training step itself draws, outside of any module")
        return Row(row, **where)

    def told(self, worst: tuple[float, str, float]) -> Row:
        change, place, bound = worst
        return Row(output=place, change=change, bound=bound, device=self.rig.device.type)

    def place(self) -> dict[str, Any]:
        """Where it differs first, and how."""
        try:
            seeds = (0, self.other)
            with torch.enable_grad():
                one, other = (operations(self.rig.model, partial(self.call, s)) for s in seeds)
            skipping = _skipped(*(_names(self.rig.model, partial(self.call, s)) for s in seeds))
        except Exception:  # noqa: BLE001  some modules refuse hooks; then the place is not known
            return {"kind": "noise", "culprit": None}
        found = first_operation(one, other, _equal)
        if found is None:
            return {"kind": "noise" if skipping is None else "skipping", "culprit": skipping}
        kind = _kind(found, one, other)
        module = self.rig.model.get_submodule(found.module)
        return {
            "kind": "skipping" if skipping is not None and kind == "noise" else kind,
            "culprit": found.module,
            "culprit_type": type(module).__name__,
            "culprit_training": module.training,
            "operation": found.name,
            "line": found.line,
            "plain": kind == "noise" and self.predicts() and _is_plain(found, one),
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


def _is_plain(found: Operation, operations: list[Operation]) -> bool:
    start = next(i for i, operation in enumerate(operations) if operation is found)
    return is_added_plainly(found, operations[start + 1 :])


def _kind(found: Operation, one: list[Operation], other: list[Operation]) -> str:
    """``zeroing`` where units are dropped; ``noise`` for any other draw."""
    drops = "dropout" in found.name or found.name in _RECURRENT or found.name == "rrelu"
    if drops or float(found.options.get("dropout_p") or 0.0) > 0:
        return "zeroing"
    start = next(i for i, operation in enumerate(one) if operation is found)
    for a, b in zip(one[start:], other[start:], strict=False):
        if a.name != b.name:
            break
        if _zeroes(a, b):
            return "zeroing"
    return "noise"


def _skipped(one: list[str], other: list[str]) -> str | None:
    """The module inside which other modules were called the second time; None where none were."""
    for a, b in zip(one, other, strict=False):
        if a != b:
            pairs = zip(a.split("."), b.split("."), strict=False)
            return ".".join(x for x, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return None if len(one) == len(other) else ""


def _zeroes(a: Operation, b: Operation) -> bool:
    """Whether it takes a float tensor that agrees and zeroes other parts of it in each call."""
    if len(a.inputs) != len(b.inputs) or not a.outputs or not b.outputs:
        return False
    y, z = a.outputs[0], b.outputs[0]
    agreeing = [x for x, w in zip(a.inputs, b.inputs, strict=True) if _equal(x, w)]
    if _equal(y, z) or y.shape != z.shape or not y.is_floating_point():
        return False
    for x in agreeing:
        if x.shape != y.shape or not x.is_floating_point():
            continue
        live = x != 0
        dropped = ((y == 0) != (z == 0)) & live
        kept = live & (y != 0)
        if float(dropped.double().mean()) < _ZEROED or not bool(kept.any()):
            continue
        scales = (y[kept] / x[kept]).double()
        constant = float(scales.max() - scales.min()) <= _CONSTANT * float(scales.abs().max())
        if constant and not (_masks_tokens(live, y) and abs(float(scales[0]) - 1) <= _CONSTANT):
            return True
    return False


def _masks_tokens(live: Tensor, y: Tensor) -> bool:
    """Whether whole tokens of a sequence are left out, as masked pretraining does on purpose."""
    if y.dim() < 3:  # noqa: PLR2004  (batch, time, features)
        return False
    gone = (y == 0) & live
    tokens = gone.any(-1)
    whole_tokens = bool((gone == (tokens.unsqueeze(-1) & live)).all())
    samples = tokens.flatten(1)
    return whole_tokens and bool((samples.any(1) & ~samples.all(1)).any())


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
            (name, attribute): [t.detach().clone() for t in _numbers(value)]
            for name, module in self.model.named_modules()
            for attribute, value in _named_parts(module)
            if _numbers(value)
        }


def _named_parts(module: nn.Module) -> Iterator[tuple[str, Any]]:
    parts = {**vars(module), **module._buffers, **module._parameters}  # noqa: SLF001
    return ((name, value) for name, value in parts.items() if not name.startswith("_"))


def _numbers(value: Any) -> list[Tensor]:
    if type(value) in {int, float}:
        return [torch.tensor([float(value)])]
    return tensors(value)


def _few(rig: Rig) -> Any:
    inputs, dim = rig.call.inputs, rig.input_batch_dim
    size = None if dim is None else batch_size(inputs, dim)
    if dim is None or size is None or size <= _SAMPLES:
        return inputs
    few = take(inputs, torch.linspace(0, size - 1, _SAMPLES).round().long(), dim)
    try:
        with same_draws(rig.seed):
            rig.call(few)
    except Exception:  # noqa: BLE001  a model may insist on one batch size
        return inputs
    return few


def _names(model: nn.Module, call: Callable[[], object]) -> list[str]:
    return [found.name for found in witnessed(model, call)]


def _worst(one: dict[str, Tensor], outputs: Any) -> tuple[float, str, float]:
    other = dict(named_tensors(outputs, "output"))
    found = [
        (relative_change(a, other[place]) if place in other else 1.0, place, _limit(a))
        for place, a in one.items()
    ]
    return max(found, key=_beyond)


def _beyond(found: tuple[float, str, float]) -> float:
    change, _, bound = found
    return change / bound


def _limit(tensor: Tensor) -> float:
    dtype = tensor.dtype if tensor.is_floating_point() or tensor.is_complex() else torch.float32
    roundings = _ROUNDINGS.get(tensor.device.type, _ROUNDINGS_ELSEWHERE)
    return min(_LARGEST_BOUND, max(1e-9, roundings * float(torch.finfo(dtype).eps)))


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and relative_change(a, b) <= _limit(a)


def _alike(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(_equal(a, b) for a, b in zip(one, other, strict=True))
