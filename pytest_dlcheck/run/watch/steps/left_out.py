"""Sums of which backward is called on one term only, by the names that a loop gives them. No judgement.

A graph cannot tell what was left out of it. Where a loop has put the total together, and propagates a
part of it, the total is a variable beside that part. Variables are read a few times at most, and only
where a backward misses something.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from types import FrameType

from torch import Tensor

from pytest_dlcheck.run.code import frames
from pytest_dlcheck.run.code.lines import frame_of_the_loop
from pytest_dlcheck.run.tensors.graph import Node, edges_of, entire, inputs_of, kind_of, variables, walk

NODES = 64
"""Nodes of a sum: a loss has a few terms."""
LEAVES = 5_000
"""Nodes behind its terms that are looked through for parameters."""
VARIABLES = 256
"""Variables of a function that are looked through at most."""
_SUMS = frozenset({"Add", "Sub", "Rsub", "Stack", "Sum", "Mean"})
_WEIGHS = frozenset({"Mul", "Div", "Neg", "ToCopy", "View", "Squeeze"})


class LeftOut:
    """Looks at the variables beside a loss, and whether the other terms are propagated after it."""

    def __init__(self) -> None:
        self._open: tuple[int, str, set[int]] | None = None
        self._found: Counter[str] = Counter()
        self._pairs = 0

    def look(self, number: int, losses: Sequence[Tensor], missing: set[int]) -> None:
        """A backward begins that misses something.

        Args:
            number: how many came before it.
            losses: what it is called on.
            missing: the parameters, by identity, that optimizers step and it does not reach.
        """
        before, self._open = self._open, None
        root, frame = losses[0].grad_fn, frame_of_the_loop()
        if len(losses) != 1 or root is None or frame is None:
            return
        words, others = _beside(root, numbers_of(frame), missing)
        if before is not None and before[0] == number - 1:
            self._pairs += 1
            self._found[words] += words == before[1] and root._sequence_nr() not in before[2]  # noqa: SLF001  so torch calls it
        self._open = number, words, others

    def told(self) -> str:
        """``part of total``, of which only the part is propagated each time; empty where none is."""
        return next((w for w, count in self._found.items() if w and count == self._pairs), "")


def numbers_of(frame: FrameType) -> dict[str, Tensor]:
    """The variables of a function that hold a number with a graph."""
    known = frames.variables(frame)
    if len(known) > VARIABLES:
        return {}
    numbers = {name: each for name, each in known.items() if type(each) is Tensor and not each.dim()}
    return {name: each for name, each in numbers.items() if each.grad_fn is not None}


def _beside(root: Node, numbers: Mapping[str, Tensor], missing: set[int]) -> tuple[str, set[int]]:
    """The names of a sum and of its term that is propagated, and the numbers of its other nodes.

    The other terms reach some of what is missing.
    """
    part = next((name for name, each in numbers.items() if each.grad_fn is root), "the loss")
    for name, total in numbers.items():
        if total.grad_fn is root:
            continue
        nodes = entire([total.grad_fn], NODES, lambda node: () if node is root else terms_of(node)) or []
        others = [node for node in nodes if node is not root]
        ends = [node for node in others if not list(terms_of(node))]
        if root in nodes and any(id(leaf) in missing for leaf in _leaves_behind(ends)):
            return f"{part} of {name}", {node._sequence_nr() for node in others}  # noqa: SLF001  as above
    return "", set()


def _leaves_behind(nodes: Sequence[Node]) -> Iterator[Tensor]:
    return variables(islice(walk(nodes), LEAVES))


def terms_of(node: Node) -> Iterator[Node]:
    """What a node adds up, or weighs by a number."""
    if kind_of(node) in _SUMS or (kind_of(node) in _WEIGHS and len(edges_of(node)) == 1):
        yield from inputs_of(node)
