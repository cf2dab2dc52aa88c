"""Recurrent cells that are called step after step, and what tells the steps apart. No judgement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.tensors.tree import tensors

_FEWEST = 3
"""Calls of a cell in one pass from which on they are steps: two are two inputs, or two directions."""
Heard = Callable[[str, int, Any, Any, Any], Any]
"""Told of each call of a cell: its name, the number of the root's call, arguments and result."""


def cells_of(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Torch's own recurrent cells; one of a class that derives from them may keep a state of its own."""
    kinds = {nn.RNNCell, nn.LSTMCell, nn.GRUCell}
    return ((name, module) for name, module in model.named_modules() if type(module) in kinds)


@dataclass
class Calls:
    """The calls of one cell while a batch passes.

    Attributes:
        counts: how many there are in each call of the root, by its number.
        states: the identity of what each was given for a state; None where it was given nothing.
        first: copies of the tensors that the first was given.
        still: the numbers of those that all were given.
        held: the states, lest an identity be given to another.
    """

    counts: Counter[int] = field(default_factory=Counter)
    states: list[int | None] = field(default_factory=list)
    first: list[Tensor] = field(default_factory=list)
    still: set[int] = field(default_factory=set)
    held: list[Any] = field(default_factory=list)

    def note(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Keep what tells one call from the next."""
        given = [t.detach() for t in tensors((args, kwargs))]
        if not self.states:
            self.first = [t.clone() for t in given]
            self.still = set(range(len(given)))
        kept = enumerate(zip(self.first, given, strict=False))
        self.still &= {i for i, (a, b) in kept if a.shape == b.shape and torch.equal(a, b)}
        state = args[1] if len(args) > 1 else kwargs.get("hx")
        self.held.append(state)
        self.states.append(next((id(t) for t in tensors(state)), None))

    def are_steps(self) -> bool:
        """Whether it is called again and again, each time on the same numbers for a state.

        A state that comes of others may be masked, or begun anew where a sequence ends.
        """
        given = None not in self.states and self.still >= set(range(1, len(self.first)))
        return given and max(self.counts.values(), default=0) >= _FEWEST

    @property
    def state(self) -> str:
        """What the steps are given for a state."""
        return "same" if len(set(self.states)) == len(self.counts) else "anew"


@contextmanager
def heard_by(heard: Heard, root: nn.Module, cells: dict[str, nn.Module]) -> Iterator[None]:
    """Tell of each call of these cells; what is given back takes the place of the result."""
    number = 0

    def begin(*_: Any) -> None:
        nonlocal number
        number += 1

    handles = [root.register_forward_pre_hook(begin)]
    for name, cell in cells.items():

        def end(_: nn.Module, args: Any, kwargs: Any, output: Any, name: str = name) -> Any:
            return heard(name, number, args, kwargs, output)

        handles.append(cell.register_forward_hook(end, with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
