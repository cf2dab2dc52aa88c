"""Modules whose steps are given back the state that the step before gave, without its graph.

Nothing is propagated through time then. Nodes of a graph are numbered as they are made: what leads back
into an earlier call is told by these numbers, and nothing of a graph is held. No judgement.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from pytest_dlcheck.run.modules.steps_of_time import are_steps, is_one_step
from pytest_dlcheck.run.tensors.graph import Node, entire, inputs_of, roots
from pytest_dlcheck.run.tensors.tree import is_plain, storage_of, tensors
from pytest_dlcheck.trace import Row

FEWEST = 5
"""Calls of a module before one backward from which on they are steps of time."""
_PATIENCE = 2
"""Steps after which what was given no state without its graph is looked at no more."""
_PARTS = 4
"""Tensors of a result, or of arguments, that are looked at."""
_LARGEST = 1 << 22
"""Bytes of a state up to which it is kept until the next step."""
_NODES = 2048
"""Nodes between two steps, or behind a loss, up to which they are walked."""
_NO_NUMBER = 1 << 62
"""From here on no node is numbered: those that accumulate gradients have the largest number there is."""


@dataclass
class _Steps:
    """One module's calls since the last backward.

    Attributes:
        begun: the number of the first node that each call could make,
        ended: and of the first that it could not.
        last: what the last call gave, without its graph.
        given: what else it was given.
        cut: calls that were given what the one before gave, without its graph; and
        own: those of them that were given the very numbers of that call, not such as are equal to them.
        changed: tensors besides that state which were others than in the call before.
        is_over: whether a step reaches one before it, or nothing can be told.
        inside: whether it is called inside of another module.
        is_layer: whether it is a recurrent layer, on one step of time.
        line: ``file.py:42``, where it was first given such a state.
    """

    begun: list[int] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    last: list[Tensor] = field(default_factory=list)
    given: list[Tensor] = field(default_factory=list)
    cut: int = 0
    own: int = 0
    changed: int = 0
    is_over: bool = False
    inside: bool = False
    is_layer: bool = False
    line: str = ""

    def returns(self, given: list[Tensor], output: object) -> None:
        """One call is over, with these tensors among its arguments."""
        made = [t for t in tensors(output)[:_PARTS] if t.grad_fn is not None and _is_small(t)]
        states = [g for g in given if any(_is_without_graph(g, before) for before in self.last)]
        others = [g for g in given if all(g is not state for state in states)]
        if states:
            self.cut += 1
            self.own += any(storage_of(g) == storage_of(before) for g in states for before in self.last)
            changed = [g for g, old in zip(others, self.given, strict=False) if not _are_equal(g, old)]
            self.changed += len(changed)
            self.is_over |= not self.is_layer and not are_steps(changed, states[0])
        self.is_over |= not made or (not self.cut and len(self.ended) > 1 + _PATIENCE)
        if self.cut and not self.is_over:
            found = self.reached(roots(made))
            self.is_over = found is None or found != {len(self.ended) - 1}
        self.last = [] if self.is_over else [t.detach() for t in made]
        self.given = [] if self.is_over else [g.detach() for g in others]

    def reached(self, nodes: Iterable[Node]) -> set[int] | None:
        """The calls, by number, whose nodes are among these or behind them; None where they are many."""

        def younger(node: Node) -> list[Node]:
            return [one for one in inputs_of(node) if self.begun[0] <= _number(one) < _NO_NUMBER]

        found = entire(nodes, _NODES, younger)
        if found is None:
            return None
        places = {n: bisect_right(self.begun, n) - 1 for n in map(_number, found) if n < _NO_NUMBER}
        return {at for n, at in places.items() if 0 <= at < len(self.ended) and n < self.ended[at]}


@dataclass
class _Found:
    """Backward passes after several steps of one module, and how many do not go through these."""

    backwards: int = 0
    cut: int = 0
    row: Row = field(default_factory=Row)


class ThroughTime:
    """Hears the calls of all modules, as long as it is told of them.

    Args:
        line: tells which line of the user's calls now; empty where that is not asked.
    """

    def __init__(self, line: Callable[[], str] = str) -> None:
        self._line = line
        self._open: MutableMapping[nn.Module, _Steps] = WeakIdKeyDictionary()
        self._found: MutableMapping[nn.Module, _Found] = WeakIdKeyDictionary()

    def enters(self, module: nn.Module, *, outermost: bool) -> None:
        """A module is called, from outside of any or within one."""
        if torch.is_grad_enabled() and any(p.requires_grad for p in module.parameters()):
            steps = self._open.setdefault(module, _Steps())
            del steps.begun[len(steps.ended) :]  # of a call that raised
            steps.begun.append(torch.autograd._get_sequence_nr())  # type: ignore[attr-defined]  # noqa: SLF001  public only by name
            steps.inside = not outermost

    def returns(
        self, module: nn.Module, arguments: tuple[Any, ...], named: Mapping[str, Any], output: object
    ) -> None:
        """A module has returned."""
        steps = self._open.get(module)
        if steps is None or len(steps.begun) == len(steps.ended):
            return
        steps.ended.append(torch.autograd._get_sequence_nr())  # type: ignore[attr-defined]  # noqa: SLF001
        if steps.is_over or len(steps.ended) == 1:  # most are called once: nothing of them is kept
            return
        steps.is_layer = is_one_step(module, arguments, named)
        steps.returns(
            [t for t in tensors((arguments, dict(named)))[: 2 * _PARTS] if is_plain(t)], output
        )
        if steps.cut == 1 and not steps.line:
            steps.line = self._line()

    def backward_begins(self, losses: Sequence[Tensor]) -> None:
        """What is called from here on is for another loss."""
        for module, steps in self._open.items():
            if len(steps.ended) >= FEWEST:
                found = self._found.setdefault(module, _Found())
                found.backwards += 1
                if _is_cut(steps, losses):
                    found.cut += 1
                    found.row = Row(calls=len(steps.ended), cut=steps.cut, line=steps.line)
        self.forget()

    def forget(self) -> None:
        """Not all calls are heard any more."""
        self._open.clear()

    def rows(self, model: nn.Module) -> tuple[Row, ...]:
        """A row per innermost module of a model that was always cut."""
        found = [(name, m, self._found.get(m)) for name, m in model.named_modules()]
        cut = [(name, m, f) for name, m, f in found if f is not None and f.cut == f.backwards]
        return tuple(
            Row(f.row, site=name or type(m).__name__)
            for name, m, f in cut
            if not any(m is not inner and _holds(m, inner) for _, inner, _ in cut)
        )


def _is_cut(steps: _Steps, losses: Sequence[Tensor]) -> bool:
    """Whether no step of these reaches one before it, where that can be no one's intention.

    A loss on each step may train a module to go on from what it gave, step by step: there the earlier
    steps reach it, and only a recurrent layer within a model is sure to be meant to look back. Even that
    may be given states that were stored before, such as those of a rollout.
    """
    count = len(steps.ended)
    if steps.is_over or steps.cut < FEWEST - 2 or 2 * steps.cut < count - 2:
        return False
    if not steps.is_layer and not steps.changed:
        return False
    reached = steps.reached(roots(losses))
    if not reached:
        return False
    is_handed_on = steps.is_layer and steps.inside and steps.own == steps.cut
    return is_handed_on or len(reached) * (FEWEST - 1) <= count


def _number(node: Node) -> int:
    return int(node._sequence_nr())  # noqa: SLF001  as torch calls it


def _is_small(tensor: Tensor) -> bool:
    return is_plain(tensor) and tensor.is_floating_point() and tensor.nbytes <= _LARGEST


def _is_without_graph(given: Tensor, made: Tensor) -> bool:
    """Whether it is what a call gave, number by number, and takes no gradient back to it."""
    if given.requires_grad or not given.is_floating_point() or given.numel() != made.numel():
        return False
    flat = given.reshape(-1)
    return _are_equal(flat, made.reshape(-1)) and bool((flat != flat[:1]).any())


def _are_equal(one: Tensor, other: Tensor) -> bool:
    like = one.shape == other.shape and one.dtype == other.dtype and one.device == other.device
    return one is other or (like and torch.equal(one.detach(), other))


def _holds(module: nn.Module, inner: nn.Module) -> bool:
    return any(part is inner for part in module.modules())
