"""The autograd graph behind tensors, walked node by node. Nothing is propagated, nothing judged."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import islice
from math import inf
from typing import Any, TypeAlias

from torch import Tensor

Node: TypeAlias = Any
"""A ``torch.autograd.graph.Node``; what it offers depends on its kind."""
Below: TypeAlias = Callable[[Node], Iterable[Node]]
"""What is walked to from a node."""


def roots(tensors: Iterable[Tensor]) -> list[Node]:
    """The nodes that made some tensors."""
    return [tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None]


def kind_of(node: Node) -> str:
    """What a node does: ``Mul`` of ``MulBackward0``; empty for none, and for a user's Function."""
    return "" if node is None else kind_named(type(node).__name__)


@lru_cache(maxsize=1024)
def kind_named(name: str) -> str:
    """The same of the name of a node's type."""
    kind, backward, number = name.partition("Backward")
    return kind if number or not backward else ""  # torch numbers its own


def inputs_of(node: Node) -> list[Node]:
    """The nodes that a node hands gradients to."""
    return [child for child, _ in node.next_functions if child is not None]


def edges_of(node: Node) -> list[int]:
    """Which inputs of a node depend on what requires a gradient, by their place."""
    following = getattr(node, "next_functions", ())
    return [index for index, (child, _) in enumerate(following) if child is not None]


def walk(begin: Iterable[Node], below: Below = inputs_of) -> Iterator[Node]:
    """All nodes behind some, and these; each once, nearest first.

    Args:
        begin: where to begin.
        below: what is walked to from a node.
    """
    seen = dict.fromkeys(begin)
    waiting = deque(seen)
    while waiting:
        node = waiting.popleft()
        yield node
        for child in below(node):
            if child not in seen:
                seen[child] = None
                waiting.append(child)


def nearest(root: Node, most: int) -> list[Node]:
    """The first nodes of a walk, from one on; written out, as it is many times a training's."""
    found, seen = [root], {root}
    for node in found:
        if len(found) >= most:
            break
        for child, _ in node.next_functions:
            if child is not None and child not in seen:
                seen.add(child)
                found.append(child)
    return found[:most]


def entire(begin: Iterable[Node], most: int, below: Below = inputs_of) -> list[Node] | None:
    """The same as a list; None where there are more than so many, as a part of them would not do."""
    found = list(islice(walk(begin, below), most + 1))
    return found if len(found) <= most else None


def inner_first(begin: Iterable[Node], most: float = inf, below: Below = inputs_of) -> list[Node] | None:
    """All nodes, each after those that it is made of; None where there are more than so many."""
    waiting = [(node, False) for node in begin]
    seen: set[Node] = set()
    order: list[Node] = []
    while waiting:
        node, is_done = waiting.pop()
        if is_done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            if len(seen) > most:
                return None
            waiting.append((node, True))
            waiting += [(child, False) for child in below(node)]
    return order


def variables(found: Iterable[Node]) -> Iterator[Tensor]:
    """The tensors in which some of these nodes accumulate gradients."""
    for node in found:
        if isinstance(variable := getattr(node, "variable", None), Tensor):
            yield variable


def leaves(tensor: Tensor) -> list[Tensor]:
    """Every tensor in which the backward pass of this one would accumulate a gradient."""
    if tensor.grad_fn is None:
        return [tensor] if tensor.requires_grad else []
    return list(variables(inner_first([tensor.grad_fn]) or ()))
