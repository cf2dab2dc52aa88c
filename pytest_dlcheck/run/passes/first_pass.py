"""The first forward and loss, in which a recipe shows that it runs, and what its graphs tell."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.calls.crossings import Crossing, crossings
from pytest_dlcheck.run.calls.threads import is_compiled
from pytest_dlcheck.run.errors import CannotTellError
from pytest_dlcheck.run.functions.custom import custom_functions
from pytest_dlcheck.run.losses.attraction import only_attracts, only_sizes
from pytest_dlcheck.run.losses.calls import Computed, computed
from pytest_dlcheck.run.losses.written_out import WrittenOut, written_out
from pytest_dlcheck.run.passes.soundings import Sounding, sounding
from pytest_dlcheck.run.probe import read_in_bulk
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.graph import leaves
from pytest_dlcheck.run.tensors.norms import norms
from pytest_dlcheck.run.tensors.tree import named_tensors


@dataclass(frozen=True)
class Slopes:
    """One loss and its gradients, in the modes of training.

    Attributes:
        sizes: the number of elements of each floating output, by its place, and of the loss.
        norms: the L2 norm of every gradient there is, by the parameter's name.
        finite: whether outputs, loss and gradients are all finite.
        flat: whether all gradients are zero.
    """

    sizes: dict[str, int]
    norms: dict[str, float]
    finite: bool
    flat: bool


@dataclass
class Heard:
    """One forward and loss that was listened to, with its graph.

    Attributes:
        batch: what it was given.
        computed: the loss, and the functions that made it.
        path: what entered and left each module.
        written: what the loss compares, where it is written out.
        slopes: what its backward gave, where the loss went back: then the graph has no values any more.
        attracts: whether all that it does is to draw outputs together, or
        shrinks: to make them small.
    """

    batch: Any
    computed: Computed
    path: list[Crossing[list[Tensor]]]
    written: WrittenOut
    slopes: Slopes | None = None
    attracts: bool = False
    shrinks: bool = False


@dataclass
class FirstPass:
    """What the first pass of the batch showed.

    Attributes:
        order: the place of each module called with gradients on, in the order of first calls.
        calls: how often each was.
        reached: per loss its optimizer (None where shared) and the leaves of its graph; None instead
            of leaves where it has no graph.
        functions: the user's own autograd Functions in the graphs.
        slopes: what its backward gave; None where it was not asked for, or does not go like that.
        heard: the pass itself, where it was listened to, until those who want it are through.
        sounding: what it showed of units and signal, where it was sounded.
    """

    order: dict[str, int] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    reached: list[tuple[Any, list[Tensor] | None]] = field(default_factory=list)
    functions: dict[type[Any], None] = field(default_factory=dict)
    slopes: Slopes | None = None
    heard: Heard | None = None
    sounding: Sounding | None = None

    def note(self, optimizer: Any, loss: Any) -> None:
        """Walk the graph of one loss."""
        connected = isinstance(loss, Tensor) and loss.requires_grad
        self.reached.append((optimizer, leaves(loss) if connected else None))
        if connected:
            self.functions |= dict.fromkeys(custom_functions(loss))

    def leaves(self) -> list[tuple[Any, list[Tensor]]]:
        """The leaves of every loss.

        Raises:
            CannotTellError: a loss is not connected to any graph.
        """
        if any(found is None for _, found in self.reached):
            raise CannotTellError("the loss is not connected to a graph: nothing gets a gradient")
        return [(optimizer, found or []) for optimizer, found in self.reached]


def first_pass(rig: Rig, *, back: bool = False, listen: bool = False, sound: bool = False) -> FirstPass:
    """Let the first batch pass through forward and loss; what the recipe raises, this raises.

    Args:
        rig: the recipe.
        back: let the loss of a recipe without a step of its own go back, too.
        listen: keep what was heard, of a recipe without a step of its own, and
        sound: of a model that is not compiled, its units and its signal.
    """
    seen, handles = FirstPass(), []
    for name, module in rig.model.named_modules():

        def enter(_: Any, __: Any, name: str = name) -> None:
            if torch.is_grad_enabled():
                seen.order.setdefault(name, len(seen.order))
                seen.calls[name] += 1

        with suppress(Exception):  # some modules refuse hooks; then their order is not known
            handles.append(module.register_forward_pre_hook(enter))
    try:
        with rig.undisturbed(), torch.enable_grad():
            loss, outputs = _passed(rig, seen, listen=listen, sound=sound and not is_compiled(rig.model))
            if back and rig.recipe.training_step is None:
                _go_back(rig, seen, loss, outputs)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def heard_by(rig: Rig) -> Heard:
    """The first pass, if it was listened to, else another; call undisturbed, and with gradients on."""
    known: Heard | None = None if rig.first is None else rig.first.heard
    return _listened(rig) if known is None else known


def _listened(rig: Rig) -> Heard:
    with crossings(rig.model, list) as path:
        found = computed(rig)
    attracts, shrinks = only_attracts(found.loss, path), only_sizes(found.loss, path)
    written = written_out(rig.batch, found)
    return Heard(rig.batch, found, path, written, attracts=attracts, shrinks=shrinks and not attracts)


def _passed(rig: Rig, seen: FirstPass, *, listen: bool, sound: bool) -> tuple[Any, Any]:
    if listen and rig.recipe.training_step is None:
        with sounding(rig) if sound else nullcontext() as seen.sounding:
            if seen.sounding is not None:
                seen.sounding.begin(rig, rig.batch)
            seen.heard = _listened(rig)
        result = seen.heard.computed
        for told in result.warned:  # they were kept from whoever reads warnings, or wants none
            warnings.warn_explicit(told.message, told.category, told.filename, told.lineno)
        seen.note(None, result.loss)
        return result.loss, result.outputs
    with rig.autocast():
        if not rig.objective.is_generator:
            loss, outputs = rig.objective.raw_loss(rig.batch)
            seen.note(None, loss)
            return loss, outputs
        for optimizer, one in rig.objective.objectives(rig.batch):
            seen.note(optimizer, one)
    return None, None


def _go_back(rig: Rig, seen: FirstPass, loss: Any, outputs: Any) -> None:
    try:
        seen.slopes = _slopes(rig, loss, outputs)
    except Exception:  # noqa: BLE001  whoever needs it will meet the error, and tell it
        seen.heard = None  # its graph may be used up
    if seen.heard is not None:
        seen.heard.slopes = seen.slopes


def _slopes(rig: Rig, loss: Any, outputs: Any) -> Slopes | None:
    if not isinstance(loss, Tensor) or not loss.requires_grad or loss.numel() != 1:
        return None
    for parameter in rig.parameters.values():
        parameter.grad = None
    loss.reshape(()).backward()  # type: ignore[no-untyped-call]
    gradients = {name: p.grad for name, p in rig.parameters.items() if p.grad is not None}
    lengths = read_in_bulk(norms(list(gradients.values())))
    values = {name: t.detach() for name, t in named_tensors(outputs, "output") if is_real(t)}
    values["loss"] = loss.detach()
    return Slopes(
        sizes={name: t.numel() for name, t in values.items()},
        norms=dict(zip(gradients, lengths, strict=True)),
        finite=all(map(is_finite, values.values()))
        and (math.isfinite(sum(lengths)) or all(map(is_finite, gradients.values()))),
        flat=not any(lengths) and not any(bool(g.any()) for g in gradients.values()),
    )


def is_real(value: Any) -> bool:
    """Whether it is a tensor of floating numbers that can be looked at as they lie."""
    return isinstance(value, Tensor) and value.is_floating_point() and value.layout == torch.strided


def is_finite(tensor: Tensor) -> bool:
    """Whether every number is, of a sparse tensor every one that it holds."""
    values = tensor.detach()
    values = values.coalesce().values() if values.is_sparse else values
    return bool(values.isfinite().all())
