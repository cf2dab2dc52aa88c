"""Sums of which one term is propagated, while the others would train the same parameters. No judgement.

The graph of the sum tells its terms, and the source of the loop whether the sum may be propagated at
another time. Looked at in a few backward passes, two in a row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from types import FrameType
from typing import Any

from torch import Tensor

from pytest_dlcheck.run.code import frames
from pytest_dlcheck.run.code.lines import frame_of_the_loop
from pytest_dlcheck.run.code.read_as_numbers import is_only_read
from pytest_dlcheck.run.losses.graphs.advantages import SHAPES
from pytest_dlcheck.run.losses.graphs.cuts import made
from pytest_dlcheck.run.losses.graphs.kept import constant_of
from pytest_dlcheck.run.tensors.graph import Node, inputs_of, kind_of, variables, walk
from pytest_dlcheck.run.watch.steps.left_out import LEAVES, NODES, numbers_of, terms_of

HELD = 32
"""Things in a list, a dictionary or an object that are looked through for terms."""
_LOOKS_UP = SHAPES | {"Embedding", "Index", "IndexSelect", "Gather", "Select"}
"""What takes rows out of parameters, and makes nothing of them."""
PAIRS = 2
"""Pairs of backward passes (count) that must all show it."""
_LOSSES = frozenset(
    {
        "loss",
        "losses",
        "total",
        "objective",
        "obj",
        "cost",
        "elbo",
        "combined",
        "full",
        "overall",
        "joint",
    }
)
_LOGGED = frozenset(
    {
        *("log", "logs", "logged", "logging", "monitor", "monitored", "display", "shown", "report"),
        *("metric", "metrics", "running", "avg", "average", "mean", "ema", "smooth", "smoothed", "best"),
        *("val", "valid", "validation", "test", "eval", "gap", "diff", "delta", "old", "previous"),
    }
)


@dataclass(frozen=True)
class _Sum:
    """What was found at one backward.

    Attributes:
        number: how many backward passes came before it.
        roots: the numbers of the nodes of what is propagated, and
        others: those of the other terms.
        words: the names of the term and of the sum; empty where there is none.
        place: which inputs of nodes lead from the sum to the term.
    """

    number: int
    roots: frozenset[int]
    others: frozenset[int] = field(default_factory=frozenset)
    words: str = ""
    place: tuple[int, ...] = ()
    is_only_read: bool = False
    """Whether the source makes nothing of the sum but a number, and holds its terms nowhere else."""


class OneTerm:
    """Looks at the variables beside a loss."""

    def __init__(self) -> None:
        self._open: _Sum | None = None
        self._found: Counter[tuple[str, tuple[int, ...]]] = Counter()
        self.pairs = 0
        self.is_sure = True
        """Whether no sum may be propagated at another time, by the source."""

    def look(self, number: int, losses: Sequence[Tensor], stepped: set[int]) -> None:
        """A backward begins.

        Args:
            number: how many came before it.
            losses: what it is called on.
            stepped: the parameters, by identity, that optimizers step.
        """
        before, self._open = self._open, None
        frame = frame_of_the_loop()
        if len(losses) != 1 or losses[0].grad_fn is None or frame is None:
            return
        now = self._open = _looked(number, _scaled(losses[0].grad_fn), frame, stepped)
        if before is None or before.number != number - 1:
            return
        self.pairs += 1
        alone = now.roots.isdisjoint(before.others) and before.roots.isdisjoint(now.others)
        same = (now.words, now.place) == (before.words, before.place)
        self._found[now.words, now.place] += bool(now.words) and alone and same
        self.is_sure &= now.is_only_read

    def told(self) -> str:
        """``part of total``, of which only the part is propagated each time; empty where none is."""
        enough = self.pairs if self.pairs >= PAIRS else 0
        return next((words for (words, _), count in self._found.items() if count == enough > 0), "")


def _scaled(root: Node) -> list[Node]:
    """A loss's node, and those of what it is but for a factor."""
    chain = [root]
    while kind_of(chain[-1]) in {"Mul", "Div"} and len(inputs_of(chain[-1])) == 1:
        chain += inputs_of(chain[-1])
    return chain


def _looked(number: int, chain: list[Node], frame: FrameType, stepped: set[int]) -> _Sum:
    """The sum of which a loss is a term, where a variable holds it."""
    numbers = numbers_of(frame)
    roots = frozenset(node._sequence_nr() for node in chain)  # noqa: SLF001  so torch calls it
    entries = _entries(frame)
    for name, total in (numbers | entries).items():
        if total.grad_fn in chain or not (name in entries or _is_a_loss(name)):
            continue
        found = _terms(total.grad_fn, chain)
        if found is None:
            continue
        others, place = found
        terms = [other for other, each in numbers.items() if each.grad_fn in others and other != name]
        if not all(is_only_read(frame, term, or_added=True) for term in terms):
            continue
        if not _trains_the_same(others, chain[0], stepped):
            continue
        known = (numbers | _entries(frame, of_losses=False)).items()
        part = next((f"`{other}`" for other, each in known if each.grad_fn in chain), "a part")
        numbered = frozenset(node._sequence_nr() for node in others)  # noqa: SLF001  as above
        is_sure = (
            name in numbers and is_only_read(frame, name) and not _are_held_elsewhere(frame, others)
        )
        return _Sum(number, roots, numbered, f"{part} of {name}", place, is_only_read=is_sure)
    return _Sum(number, roots)


def _entries(frame: FrameType, *, of_losses: bool = True) -> dict[str, Tensor]:
    """The numbers with a graph in dictionaries of a function: of losses by their keys, or of any key."""
    return {
        f'{name}["{key}"]': each
        for name, value in frames.variables(frame).items()
        if type(value) is dict and not frames.words_of(name) & _LOGGED
        for key, each in islice(value.items(), HELD)
        if type(each) is Tensor and not each.dim() and each.grad_fn is not None
        if type(key) is str and (_is_a_loss(key) or not of_losses)
    }


def _is_a_loss(name: str) -> bool:
    words = frames.words_of(name)
    return bool(words & _LOSSES) and not words & _LOGGED


def _terms(total: Node, chain: list[Node]) -> tuple[list[Node], tuple[int, ...]] | None:
    """The other nodes of a sum, and where in it what is propagated stands; None where it does not."""
    waiting: list[tuple[Node, tuple[int, ...]]] = [(total, ())]
    others: dict[Node, None] = {}
    place = None
    while waiting:
        node, path = waiting.pop()
        if node in chain:
            if place is not None:
                return None
            place = path
        elif node not in others:
            others[node] = None
            waiting += [(child, (*path, index)) for index, child in enumerate(_below(node))]
        if len(others) > NODES:
            return None
    return None if place is None else (list(others), place)


def _below(node: Node) -> Iterator[Node]:
    """What a node adds up, but for what has no weight."""
    return (child for child in terms_of(node) if not _is_weightless(child))


def _is_weightless(node: Node) -> bool:
    factor = constant_of(node) if kind_of(node) == "Mul" else None
    return factor is not None and factor.numel() == 1 and not float(factor)


def _are_held_elsewhere(frame: FrameType, terms: list[Node]) -> bool:
    """Whether a list, a dictionary or an object here holds a term: who uses it is not read."""
    held = (each for value in frames.variables(frame).values() for each in _held(value))
    return any(type(each) is Tensor and each.grad_fn in terms for each in held)


def _held(value: object) -> list[Any]:
    if type(value) in {list, tuple, dict}:
        inner: Any = value.values() if isinstance(value, dict) else value
    elif isinstance(value, Tensor):
        return []
    else:
        inner = frames.attributes(value).values()
    return list(islice(inner, HELD))


def _trains_the_same(others: list[Node], root: Node, stepped: set[int]) -> bool:
    """Whether terms reach what is stepped, through what the model made for the other term, too.

    What is made of parameters alone, such as the sum of the squares of those that are looked up, an
    optimizer may see to itself; and a number that lies behind the other term is propagated with it.
    """
    ends = [node for node in others if not list(_below(node))]
    propagated = set(islice(walk([root]), LEAVES))
    if any(made(each) == [] for each in others if each in propagated):
        return False
    behind = list(islice(walk(ends), LEAVES))
    if not any(id(leaf) in stepped for leaf in variables(behind)):
        return False
    shared = propagated.intersection(behind)
    return any(inputs_of(node) and kind_of(node) not in _LOOKS_UP for node in shared)
