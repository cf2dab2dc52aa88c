"""One pass of a batch through forward and loss, followed call by call. It judges nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import tensors

_PLAIN = (bool, int, float, str, bytes, type(None))
_CALLS_KEPT = 8
"""Calls followed of each module: a recurrent cell is called once a time step."""


@dataclass
class Visit:
    """One call of a module.

    Attributes:
        site: the module's dotted name.
        grad_on: whether autograd was recording.
        needs_grad: whether an input requires grad.
        indices: whether an input holds whole numbers.
        inputs, outputs: a mark of each tensor (see :func:`mark`).
        opaque: the output holds something else than tensors and plain values.
    """

    site: str
    grad_on: bool
    needs_grad: bool
    indices: bool
    inputs: list[Tensor]
    outputs: list[Tensor] = field(default_factory=list)
    opaque: bool = False


@dataclass
class Passage:
    """What one pass did.

    Attributes:
        losses: the loss per objective, each with its optimizer (None where one loss feeds all).
        visits: the calls in the order in which they began.
        calls: how often each module was called.
    """

    losses: list[tuple[Any, Tensor]] = field(default_factory=list)
    visits: list[Visit] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=dict)

    def numbered(self) -> Iterator[tuple[tuple[str, int], Visit]]:
        """The calls, each with its module and its count among that module's calls."""
        counts: dict[str, int] = {}
        for visit in self.visits:
            counts[visit.site] = counts.get(visit.site, -1) + 1
            yield (visit.site, counts[visit.site]), visit


def objectives(rig: Rig) -> Iterator[tuple[Any, Tensor]]:
    """The losses of the first batch, one after the other, each with its optimizer or None."""
    if not rig.objective.is_generator:
        with rig.autocast():
            loss, _ = rig.objective.loss(rig.batch)
        yield None, loss
        return
    pairs = rig.objective.objectives(rig.batch)
    while True:
        with rig.autocast():
            pair = next(pairs, None)
        if pair is None:
            return
        yield pair


def follow(rig: Rig) -> Passage:
    """Let the first batch pass and follow it, with the same draws every time."""
    passage = Passage()
    with rig.undisturbed(), _followed(rig.model, passage):
        for optimizer, loss in objectives(rig):
            passage.losses.append((optimizer, loss.detach().double()))
    return passage


@contextmanager
def _followed(model: nn.Module, passage: Passage) -> Iterator[None]:
    handles = []
    for site, module in model.named_modules():
        enter, leave = _hooks(site, passage)
        handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
        handles.append(module.register_forward_hook(leave, with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hooks(site: str, passage: Passage) -> tuple[Any, Any]:
    running: list[Visit | None] = []

    def enter(_module: nn.Module, args: Any, kwargs: Any) -> None:
        passage.calls[site] = passage.calls.get(site, 0) + 1
        if passage.calls[site] > _CALLS_KEPT:
            running.append(None)
            return
        given = tensors((args, kwargs))
        visit = Visit(
            site=site,
            grad_on=torch.is_grad_enabled(),
            needs_grad=any(t.requires_grad for t in given),
            indices=any(not t.is_floating_point() and not t.is_complex() for t in given),
            inputs=[mark(t) for t in given],
        )
        running.append(visit)
        passage.visits.append(visit)

    def leave(_module: nn.Module, _args: Any, _kwargs: Any, output: Any) -> None:
        visit = running.pop() if running else None
        if visit is not None:
            found = tensors(output)
            visit.outputs = [mark(t) for t in found]
            visit.opaque = not found and not isinstance(output, _PLAIN)

    return enter, leave


def mark(tensor: Tensor) -> Tensor:
    """A weighted sum over all elements and their L2 norm, float64 of shape ``[2]``."""
    flat = tensor.detach()
    flat = flat.to_dense() if flat.layout is not torch.strided else flat
    flat = torch.view_as_real(flat) if flat.is_complex() else flat
    flat = flat.reshape(-1).to("cpu").double()
    weights = torch.arange(1, flat.numel() + 1, dtype=torch.float64).sin()
    return torch.stack([torch.dot(flat, weights), flat.norm()])


def differ(one: list[Tensor], other: list[Tensor], tolerance: float) -> bool:
    """Whether two lists of marks differ by more than a share of the norm."""
    if len(one) != len(other):
        return True
    for a, b in zip(one, other, strict=True):
        if torch.equal(a, b) or (a.isnan().any() and b.isnan().any()):
            continue
        if not bool((a - b).abs().max() <= tolerance * max(float(a[-1]), float(b[-1]))):
            return True
    return False
