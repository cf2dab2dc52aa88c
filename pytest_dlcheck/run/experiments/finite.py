"""Where the first NaN or infinity arises, going forward through values and back through gradients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pytest_dlcheck.run.calls.crossings import Crossing, Origin, crossings, origin
from pytest_dlcheck.run.experiment import Experiment
from pytest_dlcheck.run.passes.first_pass import first_pass, is_finite, is_real
from pytest_dlcheck.run.passes.own_pass import own_pass
from pytest_dlcheck.run.passes.passage import objectives
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import named_tensors
from pytest_dlcheck.trace import Row

_SETTLING = 3
"""Train-mode passes that give running statistics a first idea, where eval mode overflows without."""


class Finite(Experiment):
    """Fills ``finite``: a row per input, target, parameter, output, loss and gradient.

    Each counts NaN and infinities; where there are some, the row of the loss or of the gradients
    names where they first arise.
    """

    fact = "finite"

    def run(self, rig: Rig) -> Iterable[Row]:
        """Look at train mode, eval mode, and the first backward."""
        given = [(n, t) for n, t in named_tensors(rig.batch, "batch") if is_real(t)]
        given += list(rig.parameters.items())
        rows = [_row("before", name, tensor) for name, tensor in given]
        sound = _passed(rig)
        rows += _in_mode(rig, training=True) if sound is None else sound[:-1]
        rows += _in_mode(rig, training=False)
        return [*rows, *(_backward(rig) if sound is None else sound[-1:])]


def _passed(rig: Rig) -> list[Row] | None:
    """Outputs, loss and gradients of the first pass; None where not all are finite."""
    if rig.recipe.training_step is not None:
        return None
    known = rig.first.slopes if rig.first is not None else None
    seen = known or first_pass(rig, back=True).slopes
    if seen is None or not seen.finite:
        return None
    rows = [_whole("train", name, size) for name, size in seen.sizes.items()]
    return [*rows, _gradients(len(seen.norms), 0)]


# -- forward ----------------------------------------------------------------------------------


def _in_mode(rig: Rig, *, training: bool) -> list[Row]:
    if rig.objective.is_generator and not training:
        return []
    if not training and rig.recipe.training_step is None and (sizes := own_pass(rig).sizes):
        return [_whole("eval", name, size) for name, size in sizes.items()]
    rows = _forward(rig, training=training)
    bad = any(row.integer("nan") + row.integer("inf") for row in rows)
    untouched = [
        m for m in rig.model.modules() if isinstance(m, _BatchNorm) and m.num_batches_tracked is not None
    ]
    if training or not bad or not untouched:
        return rows
    # Fresh running statistics do not normalise: deep networks overflow by that in eval mode only.
    return _forward(rig, training=False, settle=True)


def _forward(rig: Rig, *, training: bool, settle: bool = False) -> list[Row]:
    mode = "train" if training else "eval"
    with _prepared(rig, training=training, settle=settle):
        rows = [_row(mode, name, tensor) for name, tensor in _values(rig)]
    if not any(row.integer("nan") + row.integer("inf") + row.integer("neg_inf") for row in rows):
        return rows
    with _prepared(rig, training=training, settle=settle), crossings(rig.model, _all_finite) as path:
        rows = [_row(mode, name, tensor) for name, tensor in _values(rig)]
    start = _first_bad(rig.model, path)
    return [Row({**row, "site": start.site, "where": start.where}) for row in rows]


@contextmanager
def _prepared(rig: Rig, *, training: bool, settle: bool) -> Iterator[None]:
    # A step of the user's own may propagate back by itself.
    grad = rig.recipe.training_step is not None
    with rig.undisturbed(), torch.set_grad_enabled(grad):
        if settle:
            rig.model.train()
            for _ in range(_SETTLING):
                with rig.autocast():
                    rig.call()
        if not training:
            rig.model.eval()
        yield


def _values(rig: Rig) -> Iterator[tuple[str, Tensor]]:
    if rig.objective.is_generator:
        for number, (_, one) in enumerate(objectives(rig)):
            yield f"loss[{number}]", one
        return
    loss: Any = None
    with rig.autocast():
        try:
            loss, outputs = rig.objective.raw_loss(rig.batch)
        except Exception:
            # Detectors give no losses in eval mode, so that a step cannot sum them up there.
            if rig.model.training or rig.recipe.training_step is None:
                raise
            outputs = _replayed_in_eval(rig)
    found = [(n, t) for n, t in named_tensors(outputs, "output") if is_real(t)]
    yield from found
    if isinstance(loss, Tensor):
        yield "loss", loss


def _replayed_in_eval(rig: Rig) -> Any:
    rig.model.train()
    call = rig.call
    rig.model.eval()
    return call()


def _first_bad(model: nn.Module, path: list[Crossing[bool]]) -> Origin:
    for index, crossing in enumerate(path):
        if not crossing.seen:
            return origin(model, path, index)
    return Origin("loss", "in the loss: every module's values are finite")


# -- backward ---------------------------------------------------------------------------------


def _backward(rig: Rig) -> list[Row]:
    arrived: list[tuple[int, bool]] = []
    borders: dict[int, list[int]] = {}
    keep: list[Tensor] = []

    def note(found: list[Tensor]) -> None:
        index = len(path)
        for tensor in found:
            if not tensor.requires_grad:
                continue
            if id(tensor) not in borders:
                keep.append(tensor)
                tensor.register_hook(partial(_arrive, arrived, id(tensor)))  # type: ignore[no-untyped-call]
            borders.setdefault(id(tensor), []).append(index)

    named = rig.parameters
    with rig.undisturbed(), torch.enable_grad():
        for parameter in named.values():
            parameter.grad = None
        with crossings(rig.model, note) as path:
            for _, loss in objectives(rig):
                if loss.requires_grad:
                    loss.backward()  # type: ignore[no-untyped-call]
        bad = [n for n, p in named.items() if p.grad is not None and not is_finite(p.grad)]
        seen = sum(p.grad is not None for p in named.values())
    row = _gradients(seen, len(bad))
    if not bad:
        return [row]
    start = _first_bad_gradient(rig.model, path, borders, arrived, bad)
    return [Row({**row, "site": start.site, "where": start.where, "first": ", ".join(bad[:3])})]


def _gradients(seen: int, bad: int) -> Row:
    return Row(mode="backward", place="gradients", total=seen, nan=bad, inf=0, neg_inf=0)


def _arrive(arrived: list[tuple[int, bool]], key: int, gradient: Tensor) -> None:
    arrived.append((key, is_finite(gradient)))


def _first_bad_gradient(
    model: nn.Module,
    path: list[Crossing[None]],
    borders: dict[int, list[int]],
    arrived: list[tuple[int, bool]],
    bad: list[str],
) -> Origin:
    """The code between the tensor whose gradient is the first bad one and what follows it."""
    key = next((key for key, finite in arrived if not finite), None)
    if key is None:
        return Origin(bad[0], "in the use of this parameter: all gradients of activations are finite")
    crossed = [path[i] for i in borders[key] if i < len(path)]
    inner = next((c for c in reversed(crossed) if c.entering), None)
    children = {n for n, m in model.named_modules() if not any(m.children())}
    if inner is not None and (inner.site in children or crossed[-1] is inner):
        kind = type(model.get_submodule(inner.site)).__name__
        return Origin(inner.site, f"in {kind}.forward of `{inner.site}`" if inner.site else f"in {kind}")
    last = crossed[-1].site
    if not last:
        return Origin("loss", "in the loss, at the model's output")
    around = last.rpartition(".")[0]
    kind = type(model.get_submodule(around)).__name__
    return Origin(last, f"in {kind}.forward, after `{last}`")


# -- tensors ----------------------------------------------------------------------------------


def _row(mode: str, place: str, tensor: Tensor) -> Row:
    flat = torch.view_as_real(tensor.detach()) if tensor.is_complex() else tensor.detach()
    if bool(flat.isfinite().all()):
        return _whole(mode, place, flat.numel())
    counts = (flat.isnan, flat.isposinf, flat.isneginf)
    nan, inf, neg_inf = (int(count().sum()) for count in counts)
    return Row(mode=mode, place=place, total=flat.numel(), nan=nan, inf=inf, neg_inf=neg_inf)


def _whole(mode: str, place: str, total: int) -> Row:
    return Row(mode=mode, place=place, total=total, nan=0, inf=0, neg_inf=0)


def _all_finite(found: list[Tensor]) -> bool:
    return all(is_finite(t) for t in found if is_real(t))
