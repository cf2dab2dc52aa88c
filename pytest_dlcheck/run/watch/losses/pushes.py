"""Which way losses push what a network gives: on data, on what another made, and for who made it.

Heard by hooks on what networks give, as the loop's own backward goes through it. No judgement.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.graph import Node, kind_of, roots, walk
from pytest_dlcheck.run.samples import is_plain
from pytest_dlcheck.run.tree import tensors
from pytest_dlcheck.run.watch.guard import Guard
from pytest_dlcheck.trace import Row

NEAR = 64
"""Nodes of a loss among which squares and distances are."""
MOSTLY = 0.95
"""Share of the scores (ratio) that are pushed one way where the loss does so, whatever they are."""
OPEN = 64
"""Results that wait for a backward, at most."""
_TURNING = frozenset({"MseLoss", "SmoothL1Loss", "HuberLoss", "Pow", "Abs", "L1Loss"})
"""Losses that push scores up or down by where they are, not by what they are told."""
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
    number: int
    counts: list[Tensor] = field(default_factory=list)

    def way(self) -> int:
        """Up is 1, down is -1, and both, or neither, 0."""
        up, down = (int(sum(each[i] for each in self.counts)) for i in (0, 1))
        most = max(up, down)
        return 0 if not most or most < MOSTLY * (up + down) else 1 if up > down else -1


@dataclass
class _Judge:
    """A network, and which way its scores were pushed: by kind, for its own steps, and for others'."""

    module: weakref.ref[nn.Module]
    own: dict[str, list[int]] = field(default_factory=lambda: {DATA: [], MADE: [], MAKING: []})
    makers: list[int] = field(default_factory=list)


class Pushes:
    """All of them, as long as all calls are heard.

    Args:
        guard: stands before what the backward calls.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._waiting: list[_Scores] = []
        self._judges: dict[int, _Judge] = {}
        self._turns = False

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
        if not is_plain(output) or not is_plain(given):
            return
        kind = MAKING if given.grad_fn is not None else MADE if maker is not None else DATA
        if (kind == DATA and given.requires_grad) or len(self._waiting) >= OPEN:
            return
        number = output.grad_fn._sequence_nr()  # noqa: SLF001  so torch calls it
        scores = _Scores(weakref.ref(module), kind, number)
        self._waiting.append(scores)

        def pushed(gradient: Tensor) -> None:
            with torch.no_grad():
                scores.counts.append(torch.stack([(gradient < 0).sum(), (gradient > 0).sum()]))

        output.register_hook(self._guard(pushed))  # type: ignore[no-untyped-call]

    def backward_begins(self, losses: Sequence[Tensor]) -> None:
        """A loss that turns by where scores are tells nothing."""
        numbers = {scores.number for scores in self._waiting}
        if not numbers or self._turns:
            return
        near = islice(walk(roots(losses)), NEAR)
        self._turns = any(_leads_to(node, numbers) for node in near if kind_of(node) in _TURNING)

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
            way = -scores.way() if maximize else scores.way()
            known = self._judge_of(judge)
            (known.own[scores.kind] if is_own else known.makers).append(way)

    def _judge_of(self, module: nn.Module) -> _Judge:
        judge = self._judges.get(id(module))
        if judge is None or judge.module() is not module:
            judge = self._judges[id(module)] = _Judge(weakref.ref(module))
        return judge

    def rows(self, keys: set[int]) -> tuple[Row, ...]:
        """A row per network among these parameters that judges data and what another makes.

        Args:
            keys: the parameters of an optimizer, by identity.
        """
        return () if self._turns else tuple(self._rows(keys))

    def _rows(self, keys: set[int]) -> Iterator[Row]:
        for judge in list(self._judges.values()):
            module = judge.module()
            if module is None or not any(id(p) in keys for p in module.parameters()):
                continue
            data, made = judge.own[DATA], judge.own[MADE] or judge.own[MAKING]
            if data and made:
                yield Row(
                    judge=type(module).__name__,
                    data=_only(data),
                    made=_only(made),
                    making=_only(judge.makers),
                    scores=min(len(data), len(made)),
                    scores_for_makers=len(judge.makers),
                )


def _leads_to(node: Node, numbers: set[int]) -> bool:
    """Whether some results, by the numbers of the nodes that made them, are near behind a node."""
    near = islice(walk([node]), NEAR)
    return any(each._sequence_nr() in numbers for each in near)  # noqa: SLF001  as above


def _only(ways: list[int]) -> int:
    """The one way of all, 0 where there are several."""
    return ways[0] if ways and len(set(ways)) == 1 else 0
