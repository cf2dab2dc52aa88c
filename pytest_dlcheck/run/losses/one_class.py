"""Whether all targets that a loss really compares with are one class, and of what they were made.

Asked only where the first batch looks like it: a few more batches pass then. Nothing is judged.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from pytest_dlcheck.run.calls.threads import is_compiled
from pytest_dlcheck.run.losses.calls import CLASSES, Computed
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import copied, named_tensors, tensors
from pytest_dlcheck.trace import Row

BATCHES = 16
"""Batches that pass, at most, until there are enough targets to tell; chosen."""
ENOUGH = 256
"""Targets from which on no more batches are read; chosen."""
_TWO = 2
_UNMADE = ("_like", "zeros", "ones", "full", "empty", "mul")
"""What is in the names of functions whose results do not hold what they were given."""
_SAME = 1e-4
"""Relative difference of the loss from the sum of its known terms, up to which there are no others."""


@dataclass(frozen=True)
class _Compared:
    """The targets that one call of a loss compared with.

    Attributes:
        classes: how many it knows.
        values: those not ignored, in one row.
        ignore: the value that is.
        sources: the names of the batch's own tensors that they were made of.
    """

    classes: int
    values: Tensor
    ignore: int
    sources: frozenset[str]


def one_class(rig: Rig, first: Computed) -> Iterator[Row]:
    """A row per number of classes whose losses see one class alone, made of the batches' own labels.

    Args:
        rig: the recipe.
        first: its first loss, as it was heard.
    """
    suspicious = _one_each(_heard(first))
    if not suspicious or rig.objective.is_generator or is_compiled(rig.model):
        return
    passed: list[tuple[dict[str, Tensor], list[_Compared]]] = []
    for count in range(1, BATCHES + 1):
        if len(batches := rig.look_ahead(count)) < count:
            break
        try:
            passed.append(_pass(rig, batches[-1]))
        except Exception:  # noqa: BLE001  the user's step may refuse to be run once more
            return
        suspicious &= _one_each(c for _, calls in passed for c in calls)
        # what the step makes up itself is meant to be what it is
        suspicious -= {c.classes for c in passed[-1][1] if c.values.numel() and not c.sources}
        if not suspicious or _count(passed, suspicious) >= ENOUGH:
            break
    for classes in sorted(suspicious):
        yield from _row(passed, classes, alone=_is_all(first, classes))


def _heard(first: Computed) -> Iterator[_Compared]:
    for call in first.calls:
        if call.kind in CLASSES:
            yield from _compared(call.outputs, call.targets, call.options, frozenset())


def _one_each(calls: Iterable[_Compared]) -> set[int]:
    """The numbers of classes for which the losses saw one of them at the most."""
    seen: dict[int, set[int]] = {}
    for call in calls:
        known = seen.setdefault(call.classes, set())
        if len(known) < _TWO and call.values.numel():
            known.update(int(end) for end in call.values.aminmax())
    return {classes for classes, known in seen.items() if len(known) == 1}


def _count(passed: list[tuple[dict[str, Tensor], list[_Compared]]], classes: set[int]) -> int:
    counts = (c.values.numel() for _, calls in passed for c in calls if c.classes in classes)
    return sum(counts)


def _compared(outputs: Any, targets: Any, options: Any, sources: frozenset[str]) -> Iterator[_Compared]:
    both = isinstance(outputs, Tensor) and isinstance(targets, Tensor)
    if both and outputs.dim() >= _TWO and not targets.is_floating_point() and targets.numel():
        ignore = int(options.get("ignore_index", -100))
        known = targets.detach().flatten().cpu().long()
        if outputs.size(1) >= _TWO:
            yield _Compared(outputs.size(1), known[known != ignore], ignore, sources)


def _is_all(first: Computed, classes: int) -> bool:
    """Whether the loss has no other terms than those over so many classes."""
    loss, total = first.loss, 0.0
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        return False
    for call in first.calls:
        own = call.kind in CLASSES and call.outputs.dim() >= _TWO and call.outputs.size(1) == classes
        if own and call.slope is not None:
            total += float((call.slope * call.value).detach().sum())
        elif own and call.value is loss:
            total += float(loss.detach())
    return abs(total - float(loss.detach())) <= _SAME * max(abs(total), 1e-12)


# -- one batch, whose own labels are followed ---------------------------------------------------


def _pass(rig: Rig, batch: Any) -> tuple[dict[str, Tensor], list[_Compared]]:
    """The whole numbers that a batch holds, and what its losses compared with."""
    taken, found = copied(batch), list[_Compared]()
    given = {name: t for name, t in named_tensors(taken, "batch") if _is_whole(t)}
    held = {name: t.detach().cpu().long().clone() for name, t in given.items()}
    copy, rig.objective.copy = rig.objective.copy, lambda nest: nest
    try:
        with rig.undisturbed(), torch.enable_grad(), rig.autocast(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with _Following(given, found):
                rig.objective.raw_loss(taken)
    finally:
        rig.objective.copy = copy
    return held, found


def _is_whole(tensor: Tensor) -> bool:
    plain = tensor.layout == torch.strided and not tensor.is_nested
    return plain and tensor.dtype in {torch.int64, torch.int32, torch.int16, torch.uint8, torch.int8}


class _Following(TorchFunctionMode):
    """Follows whole numbers through whatever is called, up to the losses."""

    def __init__(self, given: dict[str, Tensor], found: list[_Compared]) -> None:
        super().__init__()
        self._known = {id(t): (t, frozenset({name})) for name, t in given.items()}
        self._found = found

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        del types
        options = kwargs or {}
        if func is F.cross_entropy or func is F.nll_loss:
            outputs = args[0] if args else options.get("input")
            targets = args[1] if len(args) > 1 else options.get("target")
            made_of = self._known.get(id(targets), (None, frozenset()))[1]
            self._found += _compared(outputs, targets, options, made_of)
        value = func(*args, **options)
        name = getattr(func, "__name__", "")
        if name == "__setitem__":
            self._follow(args[2:], args[0])
        elif not any(part in name for part in _UNMADE):
            self._follow([args, options], value)
        return value

    def _follow(self, given: Any, made: Any) -> None:
        found = [self._known[id(t)][1] for t in tensors(given) if id(t) in self._known]
        for result in tensors(made) if found else ():
            if _is_whole(result):
                known = self._known.get(id(result), (result, frozenset()))[1]
                self._known[id(result)] = (result, known.union(*found))


# -- what they were made of ---------------------------------------------------------------------


def _row(
    passed: list[tuple[dict[str, Tensor], list[_Compared]]], classes: int, *, alone: bool
) -> Iterator[Row]:
    own = [[c for c in calls if c.classes == classes] for _, calls in passed]
    every = [call for calls in own for call in calls]
    sources = set().union(*(call.sources for call in every))
    labels = torch.cat([call.values for call in every])
    if not labels.numel():
        return
    label, ignore = int(labels[0]), every[0].ignore
    parts = [[held[s] for held, _ in passed if s in held] for s in sorted(sources)]
    shares = [share for part in parts for share in _largest_share(part, label, ignore)]
    yield Row(
        part="one_class",
        classes=classes,
        label=label,
        targets=labels.numel(),
        batches=sum(any(c.values.numel() for c in calls) for calls in own),
        alone=alone,
        share=max(shares, default=1.0),
        shown=all(_is_shown(held, sources, label, ignore) for held, _ in passed),
        dims=max((t.dim() for part in parts for t in part), default=0),
        source=", ".join(sorted(sources)),
    )


def _largest_share(given: list[Tensor], label: int, ignore: int) -> Iterator[float]:
    """How common a label is at that place of samples where it is the most common (ratio)."""
    shapes = {tuple(t.shape[1:]) for t in given if t.dim()}
    if not given or not all(t.dim() for t in given):
        return
    rows = (
        torch.cat([t.reshape(len(t), -1) for t in given])
        if len(shapes) == 1
        else torch.cat([t.flatten() for t in given])[:, None]
    )
    counts = (rows != ignore).sum(0)
    here = counts > 0
    shares = (rows == label).sum(0)[here] / counts[here]
    if len(shares):
        yield float(shares.max())


def _is_shown(held: dict[str, Tensor], sources: set[str], label: int, ignore: int) -> bool:
    """Whether inputs of several values hold the label wherever it is to be told, and nowhere else."""
    for name in sources & set(held):
        wanted = held[name] != ignore
        for other, tensor in held.items():
            if other not in sources and tensor.shape == wanted.shape and bool(wanted.any()):
                same = bool(((tensor == label) == wanted).all())
                if same and len(torch.unique(tensor)) > _TWO:
                    return True
    return False
