"""How the loss behaves: what it is given, what it ignores, and which answers it likes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pytest_dlcheck.run.errors import CannotTellError, NotApplicableError
from pytest_dlcheck.run.experiment import Experiment
from pytest_dlcheck.run.losses.calls import CLASSES, Computed, LossCall, last_operation
from pytest_dlcheck.run.losses.class_shares import weights_that_are_shares
from pytest_dlcheck.run.losses.classes import unheard
from pytest_dlcheck.run.losses.distributions import SHARP, distances
from pytest_dlcheck.run.losses.drawn_together import drawn_together
from pytest_dlcheck.run.losses.ignored import of_ignored
from pytest_dlcheck.run.losses.matches import of_matches
from pytest_dlcheck.run.losses.one_class import one_class
from pytest_dlcheck.run.losses.rows import of_rows
from pytest_dlcheck.run.losses.targets import of_targets
from pytest_dlcheck.run.passes.first_pass import Heard, heard_by
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import batch_size, map_tensors, take, tensors
from pytest_dlcheck.run.world.seeding import reseed
from pytest_dlcheck.trace import Row

_ROWS = 2
_SHIFTS = (1, 2, 3)
_ROUNDING = 1e-3
"""Share of a loss by which answers must differ: one that is blind to a shift differs by rounding."""
_FEW = 4
"""Samples of which the loss is taken once and twice."""


class LossSoundness(Experiment):
    """Fills ``loss_soundness``: one row of the loss itself, one per loss function seen, one per test.

    ``part`` tells them apart: ``value``, ``call``, ``terms``, ``weights``, ``pairing``, ``answers``,
    ``pairs``, ``doubling``, ``one_class``.
    """

    fact = "loss_soundness"
    asks_first_pass = True

    def run(self, rig: Rig) -> Iterable[Row]:
        """Look at the loss as it was computed, with its graph; then ask the loss alone."""
        if rig.objective.is_generator:
            raise NotApplicableError("several objectives are trained against each other")
        with rig.undisturbed(), torch.enable_grad():
            heard = heard_by(rig)
            result = heard.computed
            makers = {
                tensor.data_ptr(): crossing.site
                for crossing in reversed(heard.path)
                if not crossing.entering
                for tensor in crossing.seen
            }
            rows = [_value(rig, heard)]
            rows += [_call(rig, heard, call, makers) for call in result.calls]
            rows += weights_that_are_shares(rig, result.calls)
            rows += [row for pair in result.squared for row in _by_hand(rig, *pair)]
            rows += heard.written.rows
        rows += _asked_alone(rig, result)
        rows += _doubling(rig)
        rows += one_class(rig, result)
        return rows


def _value(rig: Rig, heard: Heard) -> Row:
    result, loss = heard.computed, heard.computed.loss
    if not isinstance(loss, Tensor):
        return Row(part="value", tensor=False, type=type(loss).__name__)
    trainable = [p for p in rig.parameters.values() if p.requires_grad]
    reached, flat = 0, False
    if loss.requires_grad and trainable:
        reached, flat = _reached(loss, heard, trainable)
    warned = (str(warning.message) for warning in result.warned)
    broadcast = next((told for told in warned if "Using a target size" in told), "")
    return Row(
        part="value",
        tensor=True,
        numel=loss.numel(),
        shape=str(tuple(loss.shape)),
        finite=bool(loss.detach().isfinite().all()),
        trainable=len(trainable),
        reached=reached,
        flat=flat,
        maximized=_maximized(rig),
        attracts=heard.attracts,
        shrinks=heard.shrinks,
        broadcast=_sizes(broadcast) if broadcast else "",
        squared=bool(broadcast) and any(_squares(c.outputs, c.targets) for c in result.calls),
    )


def _reached(loss: Tensor, heard: Heard, trainable: list[Any]) -> tuple[int, bool]:
    """How many parameters get a gradient, and whether all of these are zero."""
    if heard.slopes is not None:
        return len(heard.slopes.norms), heard.slopes.flat
    found: tuple[Tensor | None, ...] = torch.autograd.grad(
        loss.sum(), trainable, allow_unused=True, retain_graph=True
    )
    return sum(g is not None for g in found), not any(g is not None and bool(g.any()) for g in found)


def _maximized(rig: Rig) -> bool:
    """Whether every optimizer climbs instead of descending."""
    groups = [group for optimizer in rig.optimizers for group in optimizer.param_groups]
    return bool(groups) and all(group.get("maximize") is True for group in groups)


def _by_hand(rig: Rig, one: Tensor, other: Tensor) -> Iterator[Row]:
    """A difference with one of the batch's own tensors that pairs every sample with every other."""
    given = other if one.requires_grad else one
    if any(t.shape == given.shape and torch.equal(t, given) for t in tensors(rig.batch)):
        shapes = (one, other) if one.requires_grad else (other, one)
        yield Row(
            part="call",
            kind="the loss",
            squared=True,
            samples=len(one),
            shape=str(tuple(shapes[0].shape)),
            target_shape=str(tuple(shapes[1].shape)),
        )


def _sizes(warning: str) -> str:
    return warning.partition(" This will")[0].rstrip(".")


def _squares(one: Tensor, other: Tensor) -> bool:
    """Whether broadcasting pairs every sample with every other, rather than repeating one side."""
    axes = [{a, b} - {1} for a, b in zip_longest(one.shape[::-1], other.shape[::-1], fillvalue=1)]
    fits = all(len(lengths) <= 1 for lengths in axes)  # asked of torch, a misfit costs a stack trace
    return fits and math.prod(n for axis in axes for n in axis) > max(one.numel(), other.numel())


# -- loss functions of torch, as they were called ----------------------------------------------


def _call(rig: Rig, heard: Heard, call: LossCall, makers: dict[int, str]) -> Row:
    result, outputs, targets = heard.computed, call.outputs, call.targets
    values = outputs.detach().float()
    values = values[values.isfinite()] if values.isfinite().any() else torch.zeros(1)
    by_class = _rows_of_classes(call)
    site = makers.get(outputs.data_ptr())
    last = last_operation(outputs)[0]
    maker = None if site is None else rig.model.get_submodule(site)
    sign = _sign(result, call)
    row: dict[str, Any] = {
        "part": "call",
        "kind": call.kind,
        "of_model": site is not None,
        "site": "loss" if site is None else site or "model",
        "last": last,
        "least": float(values.min()),
        "most": float(values.max()),
        "sign": sign,
        "shape": str(tuple(outputs.shape)),
        "target_shape": str(tuple(targets.shape)),
        "target_float": targets.is_floating_point(),
        "samples": outputs.size(0) if outputs.dim() else 0,
        "batch_as_classes": _batch_as_classes(rig, call),
        "squared": _squares(outputs, targets) and call.kind not in CLASSES,
    }
    known = targets.detach()
    if targets.is_floating_point():
        row |= {"target_least": float(known.min()), "target_most": float(known.max())}
    row |= of_targets(call, last, maker if _as_made(outputs) else None)
    row |= of_rows(result, call)
    row |= of_matches(call)
    row |= of_ignored(result, call, heard.batch)
    row["dropped"] = result.is_dropped(outputs)
    row["one_each"] = targets.dim() == 1 and any(t is targets for t in _given(rig, heard))
    if by_class is not None and by_class.size(0) >= _ROWS:
        row["classes"] = by_class.size(1)
        row |= distances(by_class)
    return Row(row)


def _given(rig: Rig, heard: Heard) -> Iterator[Tensor]:
    """What the batch holds one of for each sample."""
    for tensor in tensors(heard.batch):
        if tensor.dim() == 1 and len(tensor) == rig.batch_size:
            yield tensor


def _as_made(outputs: Tensor) -> bool:
    """Whether no view has moved its axes since a linear layer made it."""
    names = {"AddmmBackward0", "MmBackward0", "AddBackward0", "BmmBackward0"}
    plain = {"ViewBackward0", "UnsafeViewBackward0", "ReshapeAliasBackward0"}
    return outputs.grad_fn is not None and outputs.grad_fn.name() in names | plain


def _rows_of_classes(call: LossCall) -> Tensor | None:
    """The outputs as ``(rows, classes)``, or None where the loss knows no classes."""
    outputs = call.outputs.detach().float()
    if call.kind not in CLASSES | {"kl_div"} or outputs.dim() < _ROWS:
        return None
    if call.kind == "kl_div":
        return outputs.reshape(-1, outputs.size(-1))
    return outputs.movedim(1, -1).reshape(-1, outputs.size(1))


def _sign(result: Computed, call: LossCall) -> float | None:
    loss = result.loss
    if not (isinstance(loss, Tensor) and loss.requires_grad and loss is not call.value):
        return 1.0
    slope = call.slope
    if slope is None or (slope.numel() > 1 and not bool((slope == slope.flatten()[0]).all())):
        return None
    return float(slope.sum())


def _batch_as_classes(rig: Rig, call: LossCall) -> bool:
    size = rig.batch_size
    return call.kind in CLASSES and call.outputs.dim() == 1 and size == call.outputs.size(0) != 1


# -- the loss asked apart from the model -------------------------------------------------------


def _asked_alone(rig: Rig, result: Computed) -> Iterator[Row]:
    targets = rig.objective.targets(rig.batch)
    if rig.recipe.loss is None or not isinstance(targets, Tensor):
        return
    main = next((t for t in tensors(result.outputs) if t.is_floating_point() and t.dim()), None)
    if main is None or len(main) < _ROWS:
        return

    def ask(outputs: Tensor, wanted: Tensor = targets) -> float:
        nest = map_tensors(result.outputs, lambda t: outputs if t is main else t.detach())
        reseed(rig.seed)
        return float(rig.objective.loss_of_outputs(nest, wanted))

    for test in (_pairing, _answers):
        try:
            with torch.no_grad(), rig.undisturbed():
                found = list(test(ask, main.detach(), targets))
        except (RuntimeError, ValueError, IndexError, TypeError, CannotTellError):
            continue
        yield from found
    if not result.calls:
        yield from unheard(rig, result.outputs, main, targets)
    if not _maximized(rig):
        yield from drawn_together(rig, result.outputs, targets)


def _pairing(ask: Any, main: Tensor, targets: Tensor) -> Iterator[Row]:
    """Whether it matters which target belongs to which output, where shapes would broadcast."""
    if main.shape == targets.shape or not _squares(main, targets):
        return
    free = torch.rand_like(main)
    base = ask(free)
    moved = [abs(ask(free, targets.roll(k, 0)) - base) for k in _SHIFTS]
    other = abs(ask(free, targets.flip(0) * 0 + targets[:1]) - base)
    scale = max(abs(base), 1e-12)
    yield Row(
        part="pairing",
        shape=str(tuple(main.shape)),
        target_shape=str(tuple(targets.shape)),
        moved=max(moved) / scale,
        changed=other / scale,
    )


def _answers(ask: Any, main: Tensor, targets: Tensor) -> Iterator[Row]:
    """The loss of right answers and of wrong ones, in every way in which answers may be given."""
    pairs = _of_classes(main, targets) if not targets.is_floating_point() else _of_values(main, targets)
    found = [(ask(right), ask(wrong)) for right, wrong in pairs]
    found = [pair for pair in found if all(map(math.isfinite, pair))]
    if found:
        rounding = _ROUNDING * max(abs(ask(main)), *(abs(loss) for pair in found for loss in pair))
        lower = sum(right < wrong for right, wrong in found)
        dearer = [(right, wrong) for right, wrong in found if wrong < right - rounding]
        # Outputs may be distances, right when small: then only a loss that is never positive is flipped.
        flipped = sum(_are_of_all_kinds(main, targets) or r <= 1e-6 * abs(w) for r, w in dearer)
        right, wrong = found[0][0] + 0.0, found[0][1] + 0.0  # no negative zero
        yield Row(
            part="answers",
            right=right,
            wrong=wrong,
            ways=len(found),
            lower=lower,
            higher=flipped,
            dearer=len(dearer) if main.dim() > _ROWS and main.shape == targets.shape else 0,
        )


def _are_of_all_kinds(main: Tensor, targets: Tensor) -> bool:
    """Whether outputs are to equal their targets: numbers of more kinds than two."""
    is_like = main.shape == targets.shape and targets.is_floating_point()
    return is_like and len(torch.unique(targets)) > _ROWS


def _of_classes(main: Tensor, targets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    known = targets.clamp_min(0)
    if main.dim() == targets.dim() + 1:
        axis = next((a for a in (1, -1) if _without(main, a) == tuple(targets.shape)), None)
        if axis is None or int(targets.max()) >= main.size(axis) or main.size(axis) < _ROWS:
            return
        count = main.size(axis)
        right = F.one_hot(known.long(), count).movedim(-1, axis).to(main)
        wrong = F.one_hot((known.long() + 1) % count, count).movedim(-1, axis).to(main)
        for sharp in (SHARP, 1.0):
            yield right * sharp, wrong * sharp
        yield (right * SHARP).log_softmax(axis), (wrong * SHARP).log_softmax(axis)
        yield (right * SHARP).softmax(axis), (wrong * SHARP).softmax(axis)


def _of_values(main: Tensor, targets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    if main.shape != targets.shape or targets.numel() < _ROWS:
        return
    goal = targets.to(main)
    if bool(((goal == 0) | (goal == 1)).all()):
        yield (2 * goal - 1) * SHARP, (1 - 2 * goal) * SHARP
        yield goal * 0.98 + 0.01, (1 - goal) * 0.98 + 0.01
        return
    spread = goal.std().clamp_min(1e-3 * float(goal.abs().max().clamp_min(1e-3)))
    for step in (spread, -spread, 3 * spread):
        yield goal, goal + step


def _without(tensor: Tensor, axis: int) -> tuple[int, ...]:
    sizes = list(tensor.shape)
    sizes.pop(axis)
    return tuple(sizes)


def _doubling(rig: Rig) -> Iterator[Row]:
    """The loss of some samples and of the same samples twice, in eval mode."""
    dim = rig.recipe.batch_dim
    size = None if dim is None else batch_size(rig.batch, dim)
    if dim is None or size is None or rig.recipe.training_step is not None:
        return
    half = torch.arange(max(1, min(_FEW, size // 2)))
    try:
        with rig.undisturbed(training=False), torch.no_grad(), rig.autocast():
            once, twice = (
                rig.objective.loss(take(rig.batch, index, dim))[0]
                for index in (half, torch.cat([half, half]))
            )
    except Exception:  # noqa: BLE001  the user's model may refuse another number of samples in any way
        return
    if bool(once.isfinite() & twice.isfinite()) and float(once) != 0:
        yield Row(part="doubling", ratio=float(twice / once))
