"""How well a model does on some batches, in any mode, against their own targets and those of others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from pytest_dlcheck.run.errors import NotApplicableError
from pytest_dlcheck.run.losses.known import by_samples
from pytest_dlcheck.run.losses.labels import classes, cross_entropy, logits_of
from pytest_dlcheck.run.modules.running import Statistics
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.crossing import Crossing, rolled
from pytest_dlcheck.run.tensors.tree import batch_size, copied, detached, map_tensors, tensors
from pytest_dlcheck.statistics import standard_error
from pytest_dlcheck.trace import Row

POINTS = 24
"""Chunks of samples, one value of the loss each, that outputs are taken apart into at least, where
there are samples enough: so many tell a mean from its noise."""
CHUNK = 16
"""Samples of a chunk at most."""


@dataclass
class Score:
    """What was found on some batches.

    Attributes:
        losses: mean loss of each batch, in the loss's unit.
        gains: for each chunk of samples, the loss against other samples' targets less that against
            their own; empty where pairs cannot be broken.
        predicted, true: classes of all samples, where the task is a classification.
        samples: how many samples.
    """

    losses: list[float] = field(default_factory=list)
    gains: list[float] = field(default_factory=list)
    predicted: list[int] = field(default_factory=list)
    true: list[int] = field(default_factory=list)
    samples: int = 0

    def row(self, **more: Any) -> Row:
        """The numbers, as a row of a fact."""
        count, gain = len(self.gains), fmean(self.gains) if self.gains else None
        error = standard_error(self.gains) if count > 1 else None
        correct = sum(a == b for a, b in zip(self.predicted, self.true, strict=True))
        return Row(
            samples=self.samples,
            loss=fmean(self.losses) if self.losses else None,
            gain=gain,
            gain_error=error,
            points=count,
            classified=len(self.true),
            correct=correct,
            **more,
        )


def score(rig: Rig, batches: Sequence[Any], crossing: Crossing | None, *, gains: bool = True) -> Score:
    """Evaluate, in the modes that the modules are in; call inside ``rig.undisturbed()``.

    Args:
        rig: the recipe.
        batches: what on.
        crossing: where whole batches must go through the step again with other targets; None where
            the recipe has a ``loss=`` that can be asked.
        gains: whether other samples' targets are tried at all.
    """
    found = Score()
    chunk = max(2, min(CHUNK, sum(batch_size(b, 0) or rig.samples_in(b) for b in batches) // POINTS))
    for batch in map(copied, batches):
        loss, outputs = evaluated(rig, batch)
        with rig.autocast(), torch.no_grad():
            found.losses.append(float(loss))
            found.samples += rig.recipe.batch_dim is not None and rig.samples_in(batch)
            targets = rig.objective.targets(batch)
            _classify(found, outputs, targets)  # before a loss can have changed them in place
            if not gains:
                continue
            if crossing is None:
                loss_of = rig.objective.loss_of_outputs
                found.gains += _gains(loss_of, outputs, targets, chunk, rig.recipe.loss)
            elif cross_entropy(outputs, targets) is not None:
                found.gains += _gains(_stand_in, outputs, targets, chunk)
            elif (size := crossing.size(batch)) > 1:
                moved, _ = evaluated(rig, crossing.moved(batch, size // 2))
                found.gains.append(float(moved) - float(loss))
    return found


def evaluated(rig: Rig, batch: Any) -> tuple[Tensor, Any]:
    """The loss and the outputs of a batch, without their graph, in the modes that the modules are in."""
    with rig.autocast():
        try:
            with torch.no_grad():
                loss, outputs = rig.objective.loss(batch)
        except RuntimeError:  # a step that differentiates by itself
            with torch.enable_grad():
                loss, outputs = rig.objective.loss(batch)
    return loss.detach(), detached(outputs)


def crossing_of(rig: Rig) -> Crossing | None:
    """How pairs are broken there: None where it is done with outputs, by ``loss=`` alone.

    Raises:
        NotApplicableError: they cannot be broken.
    """
    if rig.objective.is_generator:
        raise NotApplicableError("several objectives are trained against each other")
    if rig.recipe.loss is not None and rig.recipe.batch_dim == 0:
        return None
    return Crossing(rig.recipe, rig.batch)


@contextmanager
def recalibrated(
    rig: Rig,
    batches: list[Any],
    training: frozenset[str],
    known: Mapping[str, Statistics] = MappingProxyType({}),
) -> Iterator[None]:
    """The model in eval mode, its running statistics those of these batches at its present weights.

    Call inside ``rig.undisturbed()``, which puts statistics and modes back.

    Args:
        rig: the recipe.
        batches: training batches.
        training: names of the modules that were in train mode; the statistics of others stay.
        known: such statistics, by the module's name; where one is missing, the batches pass.
    """
    norms = {
        name: module
        for name, module in rig.model.named_modules()
        if isinstance(module, _NormBase) and module.track_running_stats and name in training
    }
    if norms.keys() <= known.keys():
        for name, module in norms.items():
            _hold(module, known[name])
    else:
        _renew(rig, list(norms.values()), batches)
    with evaluating(rig.model):
        yield


def _hold(module: _NormBase, statistics: Statistics) -> None:
    assert module.running_mean is not None
    assert module.running_var is not None
    module.running_mean.copy_(statistics.mean)
    module.running_var.copy_(statistics.variance)


def _renew(rig: Rig, norms: list[_NormBase], batches: list[Any]) -> None:
    momenta = {module: module.momentum for module in norms}
    try:
        for module in norms:
            module.reset_running_stats()
            module.momentum = None
        for batch in batches:
            evaluated(rig, copied(batch))
    finally:
        for module, momentum in momenta.items():
            module.momentum = momentum


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in eval mode."""
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def spread(rig: Rig, batches: Iterable[Any]) -> Row:
    """Mean and standard deviation of all floating inputs, and of targets that are numbers.

    They tell whether two sets of data are prepared alike.
    """
    parts: dict[str, list[Tensor]] = {"input": [], "target": []}
    for batch in batches:
        targets = tensors(rig.objective.targets(batch))
        own = {id(t) for t in targets}
        parts["target"] += targets
        parts["input"] += [t for t in tensors(_inputs(batch)) if id(t) not in own]
    found: dict[str, float] = {}
    for name, listed in parts.items():
        flat = [t.reshape(-1).float() for t in listed if t.is_floating_point() and t.numel()]
        if flat:
            together = torch.cat(flat)
            found[f"{name}_mean"] = float(together.mean())
            found[f"{name}_deviation"] = float(together.std())
    return Row(found)


def distinct(rig: Rig, batches: Iterable[Any]) -> int:
    """How many different samples there are, by all that is no target."""
    found = set()
    for batch in batches:
        own = {id(t) for t in tensors(rig.objective.targets(batch))}
        parts = [t for t in tensors(_inputs(batch)) if id(t) not in own and t.dim()]
        plain = [t.detach().cpu() for t in parts if t.layout == torch.strided and not t.is_nested]
        rows = [t.reshape(len(t), -1).contiguous().view(torch.uint8).numpy() for t in plain if t.numel()]
        found |= {tuple(r[i].tobytes() for r in rows) for i in range(min(map(len, rows), default=0))}
    return len(found)


def _inputs(batch: Any) -> Any:
    pair = isinstance(batch, (tuple, list)) and len(batch) == 2  # noqa: PLR2004
    return batch[0] if pair else batch


def _stand_in(outputs: Any, targets: Any) -> Tensor:
    value = cross_entropy(outputs, targets, sure=True)
    assert value is not None
    return value


def _gains(
    ask: Callable[[Any, Any], Tensor], outputs: Any, targets: Any, chunk: int, known: Any = None
) -> list[float]:
    size = _size(targets)
    if targets is None or size < 2:  # noqa: PLR2004  a single sample has no other
        return []
    shifts = sorted({max(1, size // 2), max(1, size // 3)})
    others = [rolled(targets, shift, size) for shift in shifts]

    each = [by_samples(known, outputs, goal) for goal in (targets, *others)]
    rows = [one for one in each if one is not None]
    if len(rows) == len(each):
        return _of_chunks(torch.stack(rows), min(chunk, size))

    def loss(out: Any, goal: Any) -> Tensor:
        return ask(out, goal).detach().reshape(())

    if ask is _stand_in:
        outputs = logits_of(outputs)
    trees, whole = (outputs, targets, *others), not isinstance(targets, Tensor)
    whole = whole or not _fits(outputs, size)
    pieces = iter([trees]) if whole else _pieces(trees, size, min(chunk, size))
    losses = [
        torch.stack([loss(copied(some) if whole else some, goal) for goal in goals])
        for some, *goals in pieces
    ]
    return _less_own(torch.stack(losses))


def _of_chunks(rows: Tensor, count: int) -> list[float]:
    """Where the loss of some samples is the mean of theirs: of each chunk, as :func:`_pieces` cuts."""
    chunks = rows.size(1) // count
    return _less_own(rows[:, : chunks * count].reshape(len(rows), chunks, count).mean(2).T)


def _less_own(losses: Tensor) -> list[float]:
    return [fmean(wrong) - right for right, *wrong in losses.tolist()]


def _pieces(trees: tuple[Any, ...], size: int, count: int) -> Iterator[tuple[Any, ...]]:
    """The same few samples of each nest, as long as there are so many."""
    for begin in range(0, size - count + 1, count):
        cut = partial(_few, few=slice(begin, begin + count), size=size)
        yield tuple(map_tensors(tree, cut) for tree in trees)


def _few(tensor: Tensor, *, few: slice, size: int) -> Tensor:
    return tensor[few] if tensor.dim() and len(tensor) == size else tensor


def _classify(found: Score, outputs: Any, targets: Any) -> None:
    pair = classes(outputs, targets)
    if pair is not None:
        found.predicted += pair[0].tolist()
        found.true += pair[1].tolist()


def _fits(outputs: Any, size: int) -> bool:
    found = tensors(outputs)
    return bool(found) and all(t.dim() and len(t) == size for t in found)


def _size(targets: Any) -> int:
    if isinstance(targets, (list, tuple)) and not any(isinstance(t, Tensor) for t in targets):
        return len(targets)
    return batch_size(targets, 0) or 1
