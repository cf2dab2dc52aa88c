"""Do ids keep their own row of an embedding, or are they cut to the few that it has?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from pytest_dlcheck.run.calls.operations import line_of_caller
from pytest_dlcheck.run.calls.threads import is_compiled
from pytest_dlcheck.run.errors import NotApplicableError
from pytest_dlcheck.run.experiment import Experiment
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import tensors
from pytest_dlcheck.trace import Row

_BATCHES = 4
"""Batches that are looked at where one shows that ids are cut."""
_TABLES = (nn.Embedding, nn.EmbeddingBag)
_CUTS = frozenset(
    {"clamp", "clamp_", "clamp_max", "clamp_max_", "clip", "clip_", "min", "minimum", "__mod__"}
    | {"remainder", "remainder_", "__imod__", "fmod", "fmod_"}
)
"""What maps numbers to fewer ones."""
_CARRIES = frozenset(
    {"__getitem__", "select", "narrow", "index_select", "unbind", "split", "chunk", "__iter__"}
    | {"view", "reshape", "flatten", "ravel", "squeeze", "unsqueeze", "expand", "transpose", "permute"}
    | {"t", "movedim", "contiguous", "clone", "detach", "to", "type", "long", "int", "cpu", "cuda"}
    | {"__get__"}
)
"""What hands numbers on as they are; ``__get__`` gives ``.T`` and ``.data``."""

_SHIFTS = frozenset({"add", "__add__", "__radd__", "sub", "__sub__"})
"""What moves all by the same, where it is given a number."""


@dataclass(frozen=True)
class _Carried:
    """Numbers of an input on their way.

    Attributes:
        now: as they are.
        before: what they were before they were cut, of the same shape.
        operation: what cut them, and
        line: where; empty where nothing has.
    """

    now: Tensor
    before: Tensor
    operation: str = ""
    line: str = ""


class Lookups(Experiment):
    """Follows the numbers of the inputs to the embeddings that look them up.

    Fills ``lookups``: a row per embedding whose numbers were cut on the way, with the different
    ``values`` before the cut, the most of them that look up one row (``merged``), and their ``share``
    of all lookups.
    """

    fact = "lookups"

    def run(self, rig: Rig) -> Iterable[Row]:
        """The rows."""
        tables = {id(m.weight): (n, m) for n, m in rig.model.named_modules() if isinstance(m, _TABLES)}
        if not tables or is_compiled(rig.model):
            raise NotApplicableError("the model has no embedding that can be listened to")
        seen: dict[int, list[_Carried]] = {}
        for number in range(_BATCHES):
            batches = rig.look_ahead(number + 1) if number else [rig.batch]
            if len(batches) <= number or (number and not seen):
                break
            for weight, ids in _followed(rig, batches[number]):
                if weight in tables:
                    seen.setdefault(weight, []).append(ids)
        rows = (_row(*tables[weight], found) for weight, found in seen.items())
        return [row for row in rows if row is not None]


def _row(name: str, table: nn.Embedding | nn.EmbeddingBag, found: list[_Carried]) -> Row | None:
    before = torch.cat([one.before.flatten().long().cpu() for one in found])
    now = torch.cat([one.now.flatten().long().cpu() for one in found])
    pairs = torch.unique(torch.stack([now, before]), dim=1)
    values = torch.unique(before).numel()
    if pairs.size(1) != values:  # what a number becomes depends on more than itself
        return None
    rows, counts = torch.unique(pairs[0], return_counts=True)
    fullest = rows[counts.argmax()]
    return Row(
        site=name,
        line=found[0].line,
        operation=found[0].operation,
        rows=table.num_embeddings,
        values=values,
        row=int(fullest),
        merged=int(counts.max()),
        share=float((now == fullest).double().mean()),
    )


def _followed(rig: Rig, batch: Any) -> list[tuple[int, _Carried]]:
    """The numbers that were cut before an embedding looked them up, by the identity of its weights."""
    with rig.undisturbed(training=False), torch.no_grad():
        mode = _Following()
        with _entering(rig, mode), mode:
            rig.objective.call(batch)()
    return mode.found


@contextmanager
def _entering(rig: Rig, mode: _Following) -> Iterator[None]:
    """Tell what the user's functions, and the root, are given."""
    copy = rig.objective.copy

    def copied(tree: Any) -> Any:
        return mode.begin(copy(tree))

    def enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        mode.begin((args, kwargs))

    rig.objective.copy = copied
    handle = rig.model.register_forward_pre_hook(enter, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
        rig.objective.copy = copy


class _Following(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.known: dict[int, _Carried] = {}
        self.found: list[tuple[int, _Carried]] = []

    def begin(self, tree: Any) -> Any:
        """Follow these tensors, unless they are followed already."""
        for tensor in tensors(tree):
            self.known.setdefault(id(tensor), _Carried(tensor, tensor))
        return tree

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        kwargs = kwargs or {}
        if func in (F.embedding, F.embedding_bag):
            self._looked_up(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if name in _CUTS:
            return self._cut(func, args, kwargs, line_of_caller())
        carries = name in _CARRIES or (name in _SHIFTS and any(type(arg) is int for arg in args))
        given = self.known.get(id(args[0])) if carries and args else None
        return func(*args, **kwargs) if given is None else self._carried(given, func, args, kwargs)

    def _carried(self, given: _Carried, func: Any, args: Any, kwargs: Any) -> Any:
        several = func is Tensor.__iter__
        result = list(func(*args, **kwargs)) if several else func(*args, **kwargs)
        before = func(given.before, *args[1:], **kwargs) if given.operation else result
        parts = tensors(list(before) if several else before)
        for now, then in zip(tensors(result), parts, strict=False):
            self.known[id(now)] = replace(given, now=now, before=then)
        return iter(result) if several else result

    def _cut(self, func: Any, args: Any, kwargs: Any, line: str) -> Any:
        given = next((self.known[id(arg)] for arg in args if id(arg) in self.known), None)
        now = None if given is None else given.now.clone()
        result = func(*args, **kwargs)
        if given is None or now is None or not isinstance(result, Tensor) or result.shape != now.shape:
            return result
        before = given.before if given.operation else now  # it may be cut in place
        place = (given.operation, given.line) if torch.equal(result, now) else (func.__name__, line)
        self.known[id(result)] = _Carried(result, before, *place)
        return result

    def _looked_up(self, ids: Any = None, weight: Any = None, **options: Any) -> None:
        ids = options.get("input", ids)
        carried = self.known.get(id(ids))
        if carried is not None and carried.operation and ids.numel():
            self.found.append((id(weight), carried))
