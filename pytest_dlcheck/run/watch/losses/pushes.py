"""Which way losses push what a network gives: on data, on what another made, and for who made it.

Heard by hooks on what networks give, as the loop's own backward goes through it. No judgement.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from pytest_dlcheck.run.losses.graphs.told import mark, told
from pytest_dlcheck.run.tensors.graph import entire, variables
from pytest_dlcheck.run.tensors.tree import is_plain, tensors
from pytest_dlcheck.run.watch.guard import Guard
from pytest_dlcheck.trace import Row

NODES = 20_000
"""Nodes behind what a network has made, from which on it is nobody's: a part of them would not do."""
MOSTLY = 0.95
"""Share of the scores (ratio) that are pushed one way where the loss does so, whatever they are."""
OPEN = 64
"""Results that wait for a backward, at most."""
DATA, MADE, MAKING = "data", "made", "making"
"""Called on data; on what another network has made, detached; on the same with gradients."""


class Stepped(Protocol):
    """What an optimizer steps."""

    keys: set[int]
    maximize: bool


@dataclass
class _Scores:
    """What a network gave at one call, and which way it was pushed."""

    judge: weakref.ref[nn.Module]
    kind: str
    makers: frozenset[int]
    counts: list[Tensor] = field(default_factory=list)
    is_known: bool | None = None
    is_labelled: bool = True

    def way(self) -> int:
        """Up is 1, down is -1, and both, or neither, 0."""
        up, down = (int(sum(each[i] for each in self.counts)) for i in (0, 1))
        most = max(up, down)
        return 0 if not most or most < MOSTLY * (up + down) else 1 if up > down else -1


@dataclass
class _Judge:
    """A network, and which way its scores were pushed: by kind, for its steps, and for its makers'."""

    own: dict[str, list[int]] = field(default_factory=lambda: {DATA: [], MADE: [], MAKING: []})
    makers: list[int] = field(default_factory=list)
    is_known: bool = True
    is_labelled: bool = True


class Pushes:
    """All of them, as long as all calls are heard.

    Args:
        guard: stands before what the backward calls.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._waiting: list[_Scores] = []
        self._judges: MutableMapping[nn.Module, _Judge] = WeakIdKeyDictionary()

    def returns(
        self, module: nn.Module, maker: nn.Module | None, arguments: tuple[Any, ...], output: object
    ) -> None:
        """A network was called from outside of any other.

        Args:
            module: which.
            maker: whose result it was called on, detached; None where it is nobody's, or not detached.
            arguments: what it was called on.
            output: what it gave.
        """
        given = next(iter(tensors(arguments)), None)
        if not isinstance(output, Tensor) or output.grad_fn is None or given is None:
            return
        if not is_plain(output) or not is_plain(given) or not _are_one_each(output, given):
            return
        kind = MAKING if given.grad_fn is not None else MADE if maker is not None else DATA
        if (kind == DATA and given.requires_grad) or len(self._waiting) >= OPEN:
            return
        scores = _Scores(weakref.ref(module), kind, _who_made(given))
        self._waiting.append(scores)
        mark(output, scores)

        def pushed(gradient: Tensor) -> None:
            with torch.no_grad():
                scores.counts.append(torch.stack([(gradient < 0).sum(), (gradient > 0).sum()]))

        output.register_hook(self._guard(pushed))  # type: ignore[no-untyped-call]

    def backward_begins(self, losses: Sequence[Tensor]) -> None:
        """See what the losses make of the scores that wait."""
        if not self._waiting:
            return
        found = told(losses)
        for scores in self._waiting if found is None else ():
            scores.is_known = False
        for each in found or ():
            if isinstance(each.scores, _Scores):
                each.scores.is_known = each.is_known and each.scores.is_known is not False
                each.scores.is_labelled &= each.is_labelled

    def steps(self, strand: Stepped) -> None:
        """An optimizer has stepped: for its own network's scores, or those of what its network made.

        Args:
            strand: what it steps.
        """
        waiting, self._waiting = self._waiting, []
        keys, maximize = strand.keys, strand.maximize
        for scores in waiting:
            judge = scores.judge()
            if judge is None or not scores.counts:
                self._waiting += [scores] if judge is not None else []
                continue
            is_own = any(id(p) in keys for p in judge.parameters())
            if is_own and scores.kind == MAKING and any(s.kind == MADE for s in waiting):
                self._waiting.append(scores)  # of the maker's own turn
                continue
            if not is_own and scores.kind != MAKING:
                self._waiting.append(scores)  # its own turn is to come
                continue
            if not is_own and scores.makers.isdisjoint(keys):
                self._waiting.append(scores)  # its maker's turn is to come
                continue
            if scores.is_known is None:
                continue  # heard beside any loss, as for a penalty on gradients
            way = -scores.way() if maximize else scores.way()
            known = self._judges.setdefault(judge, _Judge())
            known.is_known &= scores.is_known
            known.is_labelled &= scores.is_labelled or not is_own
            (known.own[scores.kind] if is_own else known.makers).append(way)

    def rows(self, keys: set[int]) -> tuple[Row, ...]:
        """A row per network among these parameters that judges data and what another makes by labels.

        Args:
            keys: the parameters of an optimizer, by identity.
        """
        return tuple(self._rows(keys))

    def _rows(self, keys: set[int]) -> Iterator[Row]:
        for module, judge in list(self._judges.items()):
            if not any(id(p) in keys for p in module.parameters()):
                continue
            data, made = judge.own[DATA], judge.own[MADE] or judge.own[MAKING]
            if data and made and judge.is_known:
                yield Row(
                    judge=type(module).__name__,
                    data=_only(data),
                    made=_only(made),
                    making=_only(judge.makers),
                    labelled=judge.is_labelled,
                    scores=min(len(data), len(made)),
                    scores_for_makers=len(judge.makers),
                )


def _are_one_each(output: Tensor, given: Tensor) -> bool:
    """Whether there is one score for each sample."""
    return output.dim() > 0 and given.dim() > 0 and output.numel() == len(output) == len(given)


def _who_made(given: Tensor) -> frozenset[int]:
    """The parameters, by identity, of the network that has made this, where gradients flow to it."""
    nodes = entire([given.grad_fn], NODES) if given.grad_fn is not None else None
    return frozenset(map(id, variables(nodes or ())))


def _only(ways: list[int]) -> int:
    """The one way of all, 0 where there are several."""
    return ways[0] if ways and len(set(ways)) == 1 else 0
