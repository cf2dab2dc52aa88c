"""Units of one layer that start alike, and whether the first steps tell them apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import nn

from pytest_dlcheck.run.calls.threads import Listener, Weighing, followed, is_compiled
from pytest_dlcheck.run.calls.torch_functions import PRODUCTS, TRANSPOSED
from pytest_dlcheck.run.errors import NotApplicableError
from pytest_dlcheck.run.experiment import Experiment
from pytest_dlcheck.run.modules.alike import ALIKE, LEAST_UNITS, AlikeLayer, blocks_of, may_be_alike
from pytest_dlcheck.run.passes.passage import objectives
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.trace import Row

STEPS = 3
"""Steps after which units that are still alike will stay so; a network of two hidden layers of zeros
has its first gradients in the second."""
_STEP = 0.01
"""Root mean square of a step, relative to the weights, or to ``_USUAL`` where these are smaller."""
_USUAL = 0.1
_PULLED_ALIKE = 1e-2
"""Largest difference between the gradients of units (ratio of the largest value)."""


class Symmetry(Experiment):
    """Fills ``symmetry``: a row that counts the layers, then one per layer whose units start alike.

    The gradients of the batch move all parameters for a few steps, without the optimizer. Units that
    get the same gradient each time, or none, can never differ. Where that only holds while dropout
    is off, it is dropout alone that tells them apart.
    """

    fact = "symmetry"

    def run(self, rig: Rig) -> Iterable[Row]:
        """Look at the weights; take steps only where units are alike."""
        held = {id(p) for o in rig.optimizers for group in o.param_groups for p in group["params"]}
        matrices = {
            name: p
            for name, p in rig.model.named_parameters()
            if p.dim() > 1 and p.requires_grad and id(p) in held and p.is_floating_point()
        }
        if not matrices:
            raise NotApplicableError("no optimizer holds a matrix of weights")
        yield Row(site="", layers=len(matrices))
        if not any(may_be_alike(p.detach()) for p in matrices.values()):
            return
        layers = [layer for layer in _layers(rig, matrices) if layer.are_alike(layer.weight, ALIKE)]
        if not layers:
            return
        stuck = _stuck(rig, layers)
        by_chance = set() if len(stuck) == len(layers) else _stuck(rig, layers, dropout=False)
        for layer in layers:
            yield Row(
                site=layer.name.removesuffix(".weight"),
                units=layer.weight.size(layer.axis),
                value=float(layer.weight.detach().flatten()[0]),
                largest=float(layer.weight.detach().abs().max()),
                constant=bool((layer.weight.detach() == layer.weight.detach().flatten()[0]).all()),
                stuck=layer.name in stuck,
                by_chance=layer.name in by_chance - stuck,
            )


class _Axes(Listener):
    """Which axis of a parameter counts its units, by how it is used."""

    def __init__(self) -> None:
        self.found: dict[int, int] = {}

    def weighed(self, weighing: Weighing) -> None:
        if not weighing.given.numel():
            return
        if weighing.name in TRANSPOSED:
            axis = 1
        elif weighing.name in PRODUCTS:
            axis = weighing.weight.dim() - 1
            if not weighing.weight.is_contiguous():
                axis = 0  # the parameter, transposed
        else:
            axis = 0 if weighing.weight.is_contiguous() else weighing.weight.dim() - 1
        self.found.setdefault(weighing.weight.untyped_storage().data_ptr(), axis)


def _layers(rig: Rig, matrices: dict[str, nn.Parameter]) -> Iterator[AlikeLayer]:
    axes = _Axes()
    if not is_compiled(rig.model):
        with rig.undisturbed(), followed(rig.model, axes), torch.enable_grad():
            for _ in objectives(rig):
                pass
    for name, weight in matrices.items():
        module = rig.model.get_submodule(name.rpartition(".")[0])
        blocks = blocks_of(module, weight)
        axis = axes.found.get(weight.untyped_storage().data_ptr())
        axis = 0 if blocks > 1 or is_compiled(rig.model) else axis
        if axis is not None and axis < weight.dim() and weight.size(axis) // blocks >= LEAST_UNITS:
            yield AlikeLayer(name, weight, axis, blocks)


def _stuck(rig: Rig, layers: list[AlikeLayer], *, dropout: bool = True) -> set[str]:
    """The layers whose units are alike after every step."""
    left = {layer.name: layer for layer in layers}
    with rig.undisturbed(), _put_back(rig):
        for module in chain(() if dropout else rig.model.modules()):
            if isinstance(module, nn.modules.dropout._DropoutNd):  # noqa: SLF001
                module.training = False
        for _ in range(STEPS + 1):
            for parameter in rig.parameters.values():
                parameter.grad = None
            for _, loss in objectives(rig):
                loss.backward()  # type: ignore[no-untyped-call]
            left = {name: layer for name, layer in left.items() if _is_pulled_alike(layer)}
            _step(rig.parameters.values())
    return set(left)


def _is_pulled_alike(layer: AlikeLayer) -> bool:
    """Whether its units get the same gradient; not where it is not reached at all."""
    gradient = layer.weight.grad
    return gradient is not None and layer.are_alike(gradient, _PULLED_ALIKE)


def _step(parameters: Iterable[nn.Parameter]) -> None:
    """Move every parameter against its gradient, by a small share of its size."""
    with torch.no_grad():
        for parameter in parameters:
            if parameter.grad is None or not parameter.requires_grad:
                continue
            pull = parameter.grad.float().square().mean().sqrt()
            size = parameter.float().square().mean().sqrt().clamp(min=_USUAL)
            parameter.sub_((_STEP * size / pull.clamp(min=1e-30)) * parameter.grad)


@contextmanager
def _put_back(rig: Rig) -> Iterator[None]:
    kept = {p: p.detach().clone() for p in rig.parameters.values()}
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, old in kept.items():
                parameter.copy_(old)
