"""Targets that a head without gradient is compared with, to no effect. Nothing is judged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.errors import CannotTellError
from pytest_dlcheck.run.losses.meetings import Meetings
from pytest_dlcheck.run.objective import outermost_outputs
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import map_tensors, named_tensors, tensors

_TWO = 2
_MOST = 8
"""Tensors of a batch that are varied, each for two passes at the most."""
_SEEN = 0.5
"""Share of a head's classes that the labels of one batch must hold to be those of the head; chosen."""


class _Pass(NamedTuple):
    loss: Tensor
    given: list[Tensor]
    """What the model gave, and what the head gave."""
    by_head: list[Tensor]


def left_out(rig: Rig, head: nn.Module) -> str:
    """The name of a part of the batch that is compared with the head's outputs to no effect.

    It changes neither the loss nor the model's outputs, and has the form of what the head gives; another
    part does change the loss as targets do: not by what the model gives. Empty where there is none, or
    where the two never meet: a head may wait for a later phase, beside numbers that nobody reads yet.

    Args:
        rig: the recipe.
        head: a module without gradients whose result does not reach the loss.
    """
    named = list(_varied(rig))
    if rig.objective.is_generator or not _TWO <= len(named) <= _MOST:
        return ""
    base = _pass(rig, head, rig.batch)
    known = [(name, t) for name, t in named if any(_fits(out, t) for out in base.by_head)]
    met = _met(rig, head, dict(known)) if known else set()
    for name, target in known:
        if name not in met:
            continue
        unread = all(_same(base, _pass(rig, head, batch)) for batch in _others(rig.batch, target))
        if unread and any(_is_target(rig, head, base, t) for _, t in named if t is not target):
            return name
    return ""


def _met(rig: Rig, head: nn.Module, targets: dict[str, Tensor]) -> set[str]:
    """Which of them are compared with what the head gives, or with what is made of it."""
    with (
        rig.undisturbed(),
        rig.autocast(),
        torch.enable_grad(),
        outermost_outputs(head) as given,
        Meetings(given, targets) as meetings,
    ):
        rig.objective.loss(rig.batch)
    met: set[str] = meetings.met
    return met


def _varied(rig: Rig) -> Iterator[tuple[str, Tensor]]:
    """What a batch holds of each sample, by the names that a loss may have for them."""
    known = None if rig.recipe.training_step else rig.objective.targets(rig.batch)
    targets = {id(t): name for name, t in named_tensors(known, "targets")}
    for name, tensor in named_tensors(rig.batch, "batch"):
        if tensor.dim() and len(tensor) == rig.batch_size and len(tensor) >= _TWO:
            yield targets.get(id(tensor), name), tensor


def _pass(rig: Rig, head: nn.Module, batch: Any) -> _Pass:
    with (
        rig.undisturbed(),
        rig.autocast(),
        torch.enable_grad(),
        outermost_outputs(rig.model) as given,
        outermost_outputs(head) as by_head,
    ):
        loss, _ = rig.objective.loss(batch)
    kept = ([t.detach() for t in tensors(found)] for found in (given, by_head))
    return _Pass(loss.detach(), *kept)


def _others(batch: Any, tensor: Tensor) -> Iterator[Any]:
    """The batch with one of its tensors given to other samples, then with other values."""
    moved = tensor.roll(1, 0)
    if torch.equal(moved, tensor):
        raise CannotTellError("the targets of all samples are the same")
    for other in (moved, _shifted(tensor)):
        yield _with(batch, tensor, other)


def _with(batch: Any, tensor: Tensor, other: Tensor) -> Any:
    return map_tensors(batch, lambda t: other if t is tensor else t)


def _shifted(tensor: Tensor) -> Tensor:
    """Other values within the same range."""
    if tensor.dtype == torch.bool:
        return ~tensor
    if tensor.is_floating_point():
        return (tensor + tensor.mean()) / _TWO
    low, high = tensor.aminmax()
    return low + (tensor - low + 1) % (high - low + 1)


def _same(one: _Pass, other: _Pass) -> bool:
    return torch.equal(one.loss, other.loss) and _gives_the_same(one, other)


def _gives_the_same(one: _Pass, other: _Pass) -> bool:
    return len(one.given) == len(other.given) and all(map(torch.equal, one.given, other.given))


def _is_target(rig: Rig, head: nn.Module, base: _Pass, tensor: Tensor) -> bool:
    """Whether it changes the loss, and nothing that the model gives."""
    try:
        found = _pass(rig, head, next(_others(rig.batch, tensor)))
    except CannotTellError:
        return False
    return not torch.equal(base.loss, found.loss) and _gives_the_same(base, found)


def _fits(output: Tensor, target: Tensor) -> bool:
    """Whether an output has the form of what is to be learned of a target."""
    if not output.is_floating_point() or not output.dim() or not bool(target.isfinite().any()):
        return False
    if target.is_floating_point() or target.dtype == torch.bool:
        return output.squeeze(-1).shape == target.squeeze(-1).shape
    return any(_names_classes(output, target, axis) for axis in {1, output.dim() - 1})


def _names_classes(output: Tensor, target: Tensor, axis: int) -> bool:
    if output.dim() <= axis or output.size(axis) < _TWO:
        return False
    shape = [size for place, size in enumerate(output.shape) if place != axis]
    known = torch.unique(target[target >= 0])
    fits = list(target.shape) == shape and len(known) >= _SEEN * output.size(axis)
    return fits and int(known[-1]) < output.size(axis)
