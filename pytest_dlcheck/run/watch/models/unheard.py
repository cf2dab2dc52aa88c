"""Calls on what another network has made, detached, through whose results no backward goes.

A result is told in a graph by the number of the node that made it, so that nothing is kept alive.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from torch import Tensor, nn

from pytest_dlcheck.run.losses.graphs.kept import kept
from pytest_dlcheck.run.tensors.graph import entire, roots, walk
from pytest_dlcheck.run.tensors.tree import tensors

NODES = 20_000
"""Nodes of a graph from which on nothing is told: a part of it would not do."""
NEAR = 64
"""Nodes next to a loss that tell how it is put together."""
OPEN = 64
"""Results of one module that wait for a backward."""


@dataclass
class _Listener:
    """A module that is called on another's results.

    Attributes:
        module: which.
        maker: whose results.
        fakes: the numbers of what it made of them.
        others: the same of its other calls, with the number of samples of each.
        sizes: how many samples those results had.
        calls: on results of the other, detached.
        heard: how many of these a backward went through, and
        learned: other calls that one went through.
        mixes: whether these had another number of samples: real and made ones together, perhaps.
        weighed: whether the loss of these weighs samples by numbers: targets of its own making, perhaps.
    """

    module: weakref.ref[nn.Module]
    maker: weakref.ref[nn.Module] | None = None
    fakes: deque[int] = field(default_factory=lambda: deque(maxlen=OPEN))
    others: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=OPEN))
    sizes: set[int] = field(default_factory=set)
    calls: int = 0
    heard: int = 0
    learned: int = 0
    mixes: bool = False
    weighed: bool = False

    def returns(self, number: int, size: int, maker: nn.Module | None) -> None:
        """It has made something."""
        if maker is None:
            self.others.append((number, size))
            return
        self.maker = weakref.ref(maker)
        self.calls += 1
        self.fakes.append(number)
        self.sizes.add(size)

    def backward_begins(self, numbers: set[int], losses: Sequence[Tensor]) -> None:
        """A backward of these losses goes through these nodes."""
        self.heard += sum(number in numbers for number in self.fakes)
        learned = [size for number, size in self.others if number in numbers]
        self.learned += len(learned)
        self.mixes |= bool(self.sizes) and not self.sizes.issuperset(learned)
        self.weighed |= bool(learned) and any(map(_weighs, islice(walk(roots(losses)), NEAR)))


@dataclass(frozen=True)
class Told:
    """What was found of one module.

    Attributes:
        module: its type, and
        maker: that of the module on whose results it is called.
        calls: how often, without learning from it.
        keys: its parameters, by identity.
        weighed: whether what it makes may be numbers that its loss compares with, or weighs by.
    """

    module: str
    maker: str
    calls: int
    keys: set[int]
    weighed: bool


class Unheard:
    """All such modules, as long as all calls are heard."""

    def __init__(self) -> None:
        self._known: dict[int, _Listener] = {}
        self._is_known = True

    def returns(
        self, module: nn.Module, maker: nn.Module | None, arguments: tuple[Any, ...], output: object
    ) -> None:
        """A module has returned that was called from outside of any other.

        Args:
            module: which.
            maker: whose result it was called on, detached; None where it is nobody's, or not detached.
            arguments: what it was called on.
            output: what it gave.
        """
        if maker is None and any(given.requires_grad for given in tensors(arguments)):
            return
        made = next((t for t in tensors(output) if t.grad_fn is not None), None)
        if made is None or made.grad_fn is None or made.is_nested or not made.dim():
            return
        listener = self._known.get(id(module))
        if listener is None or listener.module() is not module:
            listener = self._known[id(module)] = _Listener(weakref.ref(module))
        listener.returns(made.grad_fn._sequence_nr(), len(made), maker)  # noqa: SLF001  as below

    def backward_begins(self, losses: Sequence[Tensor]) -> None:
        """Look which results it goes through."""
        waiting = [each for each in list(self._known.values()) if each.fakes or each.others]
        passed = entire(roots(losses), NODES) if waiting else []
        if passed is None:
            self._is_known = False
            return
        numbers = {node._sequence_nr() for node in passed}  # noqa: SLF001  so torch calls it
        for listener in waiting:
            listener.backward_begins(numbers, losses)

    def told(self, stepped: set[int]) -> Iterator[Told]:
        """Modules that learn from other calls and from none on detached results.

        Args:
            stepped: the parameters that optimizers step, by identity; both have some of them.
        """
        for each in list(self._known.values()) if self._is_known else ():
            module, maker = each.module(), each.maker() if each.maker is not None else None
            if module is None or maker is None or not each.learned or each.heard or each.mixes:
                continue
            own, other = ({id(p) for p in one.parameters()} & stepped for one in (module, maker))
            if own and other:
                names = type(module).__name__, type(maker).__name__
                yield Told(*names, each.calls, own, each.weighed)


def _weighs(node: Any) -> bool:
    """Whether a loss compares with, or multiplies by, numbers that differ from sample to sample."""
    name, edges = type(node).__name__, [each for each, _ in node.next_functions if each is not None]
    if name == "SubBackward0":
        return len(edges) == 1
    held = kept(node, "other") if name == "MulBackward0" and len(edges) == 1 else kept(node, "target")
    return held is not None and held.is_floating_point() and bool((held != held.flatten()[:1]).any())
