"""What a loss compares: which batch its targets are from, and their shape beside the outputs'.

Read from the autograd graph of a few losses, so that a loop pays nothing for it in between.
"""

from __future__ import annotations

import weakref
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.graph import walk
from pytest_dlcheck.run.probes.batches import fingerprint
from pytest_dlcheck.run.samples import is_plain
from pytest_dlcheck.run.tree import tensors
from pytest_dlcheck.run.watch.batches.class_order import ClassOrder, Labels, is_among, labels_in_order
from pytest_dlcheck.run.watch.batches.new_classes import labels_of
from pytest_dlcheck.run.watch.losses.cuts import cut_apart, made
from pytest_dlcheck.run.watch.losses.given import Given, what_is_given
from pytest_dlcheck.run.watch.losses.kept import kept
from pytest_dlcheck.run.watch.losses.opposite import among_the_inputs, is_its_own, turned
from pytest_dlcheck.run.watch.losses.orders import Pairing, Pairings, pairing
from pytest_dlcheck.run.watch.losses.padding import counted
from pytest_dlcheck.run.watch.losses.partners import Couples, Partners, Partnerships
from pytest_dlcheck.trace import Row

FIRST = 24
"""Backward passes that are looked at in any case, and"""
AGAIN = 4
"""so many from each power of 4 on."""
KEPT = 4
"""Batches before this one that its targets may belong to."""
NODES = 96
"""Nodes of a graph that are looked at, from the loss down."""
LIKELIHOODS = ("ExpBackward", "LogBackward", "Log1PBackward", "LgammaBackward")
"""What the graphs of likelihoods hold, written out or torch's: Poisson, Gaussian, divergences."""
MEAN = 1
"""How torch's loss nodes write ``reduction="mean"``."""


@dataclass(frozen=True)
class Compared:
    """What one loss compares.

    Attributes:
        aligned: whether its targets came with the inputs; None where it cannot be told.
        moving: whether gradients flow into the targets.
        undivided: whether it is a mean that nothing scales; None where it is not known.
        age: how many batches older than the inputs the targets are.
        paired: whether a loader gave batches of several tensors: inputs and targets together.
        given: what torch's losses in it are given.
        pairing: how its targets stand beside its inputs.
        labels: the batch's, where its loader does not shuffle.
        exponential: whether exponentials or logarithms are taken near it, as likelihoods do.
        told: what else is noticed, by name, with words of it such as shapes: ``crossed``, of outputs and
            of what became of them, where both sides were broadcast; ``cut``, of a batch and of what the
            model was called on, where samples are cut apart; ``cut_inside``, before and after a view
            within the model that does so; ``turned``, of scores and targets that were flattened in
            another order; ``its_own``, where each sample is told by its likeness to itself; ``given``,
            where the targets are among the inputs; and ``padding``, of the targets that lie on it.
        partners: which of its targets stands beside which input, where that is told.
    """

    aligned: bool | None
    moving: bool
    undivided: bool | None
    age: int = 0
    paired: bool = False
    given: tuple[Row, ...] = ()
    pairing: Pairing = field(default_factory=Pairing)
    labels: Labels | None = None
    exponential: bool = False
    told: Mapping[str, str] = field(default_factory=dict)
    partners: Partners | None = None


class Targets:
    """Looks at losses, with the batches that were read for them."""

    def __init__(self) -> None:
        self._batches: deque[list[Tensor]] = deque(maxlen=KEPT)
        self._inputs: list[Tensor] = []
        self._further: list[Tensor] = []
        """What models were called on besides."""
        self._couples = Couples()
        self._labels: Tensor | None = None
        self.compares_labels = False
        """Whether what a loader gives as labels was seen to be what a loss compares."""
        self._reading: weakref.ref[object] | None = None
        self._backwards = self.next = 0
        """The number of the next backward that is looked at, and how many there were."""

    def batch_is_read(self, batch: Any, reading: object = None) -> None:
        """A loader's iterator has given a batch."""
        if self._backwards >= self.next:
            self._batches.append(tensors(batch))
            self._labels = labels_of(batch)
            self._reading = None if reading is None else weakref.ref(reading)

    def is_called(self, arguments: Any) -> None:
        """A root is called with gradients."""
        if self._backwards >= self.next:
            given = [tensor for tensor in tensors(arguments) if is_plain(tensor)]
            self._inputs = [*self._inputs, *given[:1]][-KEPT:]
            self._further = [*self._further, *given[1:KEPT]][-KEPT:]

    def skip(self, count: int) -> None:
        """So many backward passes that nobody needs to look at."""
        self._backwards += count
        self._batches.clear()
        self._labels = None

    def look(self, losses: Sequence[Tensor]) -> Compared | None:
        """What a backward's loss compares; None where it is not looked at."""
        due = self._backwards >= self.next
        self._backwards += 1
        self.next = max(self.next, _following(self._backwards))
        inputs, self._inputs = self._inputs, []
        further, self._further = self._further, []
        if not due or len(losses) != 1 or losses[0].grad_fn is None:
            self._batches.clear()
            return None
        nodes = list(islice(walk([losses[0].grad_fn]), NODES))
        targets = [_target(node) for node in nodes]
        found = [target for target in targets if target is not None]
        aligned, age = self._aligned(inputs, found)
        moving = [_moves(node, target) for node, target in zip(nodes, targets, strict=True)]
        undivided = _undivided(losses[0].grad_fn)
        paired = any(len(batch) > 1 for batch in self._batches)
        scores = tuple(what_is_given(nodes))
        pairs = pairing(
            losses[0].grad_fn, self._batches, inputs, found, further=further, aligned=aligned
        )
        latest = self._batches[-1] if self._batches else ()
        labels = labels_in_order(self._reading, latest, found)
        if self._labels is not None and not self.compares_labels:
            self.compares_labels = is_among(self._labels, found)
        curved = any(type(node).__name__.startswith(LIKELIHOODS) for node in nodes)
        still = [t for t, moves in zip(targets, moving, strict=True) if t is not None and not moves]
        told = {
            "crossed": next(filter(None, map(_crossed, nodes, targets)), ""),
            "cut": self._cut(inputs),
            "cut_inside": cut_apart(nodes, still),
            "turned": turned(nodes, latest),
            "its_own": "z @ z.T" if is_its_own(nodes) else "",
            "given": among_the_inputs(inputs, still),
            "padding": counted(nodes, inputs),
        }
        partners = self._couples.look(nodes, inputs, further, still)
        return Compared(
            *(
                aligned,
                any(moving),
                undivided,
                age,
                paired,
                scores,
                pairs,
                labels,
                curved,
                told,
                partners,
            )
        )

    def _cut(self, inputs: list[Tensor]) -> str:
        """Where the model is called on a batch that was viewed with other rows than samples."""
        for given in self._batches[-1][:1] if self._batches else ():
            for called in inputs:
                if _cuts(given, called) and _weighed([given]) == _weighed([called]):
                    return f"{list(given.shape)} as {list(called.shape)}"
        return ""

    def _aligned(self, inputs: list[Tensor], targets: list[Tensor]) -> tuple[bool | None, int]:
        """Whether a target came with an input, and if not, how much older it is."""
        if len(self._batches) <= 1 or not inputs or not targets:
            return None, 0
        called, compared = _weighed(inputs), _weighed(targets)
        batches = [_weighed(batch) for batch in self._batches]
        asked = [i for i, batch in enumerate(batches) if batch[:1] and batch[0] in called]
        if not asked:
            return None, 0
        if any(set(batches[i]) & set(compared) for i in asked):
            return True, 0
        others = [i for i, batch in enumerate(batches) if set(batch) & set(compared)]
        return (False, max(asked) - max(others)) if others else (None, 0)


def _following(number: int) -> int:
    """The number of the first backward from here on that is looked at."""
    power = 1 << (number.bit_length() - 1 & ~1) if number else 0
    return number if number < FIRST or number - power < AGAIN else 4 * power


_COUNTED = ("looked", "aligned", "misaligned", "moving", "undivided", "paired", "exponential")
_TOLD = ("crossed", "cut", "cut_inside", "turned", "its_own", "given", "padding")


class Comparisons:
    """What the losses of one optimizer's parameters compare, added up."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._ages: Counter[int] = Counter()
        self._words: dict[str, str] = {}
        self.given, self._pairings, self._partnerships = Given(), Pairings(), Partnerships()
        self.order = ClassOrder()

    def add(self, found: Compared) -> None:
        """One more."""
        self.given.add(found.given)
        self._pairings.add(found.pairing)
        self._partnerships.add(found.partners)
        if found.labels is not None:
            self.order.add(found.labels)
        self._counts["looked"] += 1
        self._counts["aligned"] += found.aligned is True
        self._counts["misaligned"] += found.aligned is False
        self._counts["moving"] += found.moving
        self._counts["undivided"] += found.undivided is True
        self._counts["exponential"] += found.exponential
        self._counts["paired"] += found.paired
        for name, words in found.told.items():
            self._counts[name] += bool(words)
            self._words[name] = words or self._words.get(name, "")
        if found.aligned is False:
            self._ages[found.age] += 1

    def row(self) -> Row:
        """The counts."""
        age = self._ages.most_common(1)[0][0] if self._ages else None
        counts = {name: self._counts[name] for name in (*_COUNTED, *_TOLD)}
        shapes = {f"{name}_shapes": self._words.get(name, "") for name in _TOLD}
        swaps = self._partnerships.row()
        return Row(self._pairings.row(), **counts, **shapes, **swaps, age=age)


def _target(node: Any) -> Tensor | None:
    """The targets that a loss's node has kept; a graph that is gone has kept none."""
    return kept(node, "target")


def _moves(node: Any, target: Tensor | None) -> bool:
    """Whether the targets are computed with gradients; a gradient that is differentiated is no loss."""
    if target is None or not target.is_floating_point() or "BackwardBackward" in type(node).__name__:
        return False
    edges = node.next_functions
    return len(edges) > 1 and edges[1][0] is not None


def _crossed(node: Any, target: Tensor | None) -> str:
    """Where ``[n, 1]`` is compared with ``[n]``: both are broadcast to ``[n, n]``."""
    name, edges = type(node).__name__, node.next_functions
    if name.startswith("SubBackward"):
        operands = [made(following, index) for following, index in edges if following is not None]
        whole = made(node, 0)
        if len(operands) != 1 or not _is_crossed(operands[0], whole):
            return ""
        return f"{operands[0]} against [{whole[0]}] makes {whole}"
    if target is None or not edges or type(edges[0][0]).__name__ != "ExpandBackward0":
        return ""
    behind, index = edges[0][0].next_functions[0]
    given, whole = [] if behind is None else made(behind, index), list(target.shape)
    axis = _crossing_axis(given, whole)
    if axis is None or target.stride()[0] or not target.stride()[axis]:
        return ""
    return f"{given} against {whole[axis:]} makes {whole}"


def _cuts(given: Tensor, called: Tensor) -> bool:
    """Whether rows of other sizes than samples, or parts of them along whole axes, came of a view."""
    same = given.dim() > 2 and called.dim() > 1 and given.numel() == called.numel()  # noqa: PLR2004  images
    if not same or not given.numel() or called.shape[0] == given.shape[0]:
        return False
    parts = {given.shape[axis:].numel() for axis in range(1, given.dim() + 1)}
    return called.numel() // called.shape[0] not in parts


def _is_crossed(given: list[int], whole: list[int]) -> bool:
    return len(whole) == 2 and whole[0] == whole[1] > 1 and given == [whole[0], 1]  # noqa: PLR2004  a matrix


def _crossing_axis(given: list[int], whole: list[int]) -> int | None:
    """The only axis along which outputs were repeated, as often as there are samples."""
    if len(given) != len(whole) or not whole:
        return None
    axes = [axis for axis, (a, b) in enumerate(zip(given, whole, strict=True)) if a != b]
    samples = whole[0] > 1 and len(axes) == 1 and whole[axes[0]] == whole[0] and given[axes[0]] == 1
    return axes[0] if samples else None


def _undivided(node: Any) -> bool | None:
    """Whether the loss is a plain mean: nothing but the loss's own node, and that averages."""
    while node is not None and type(node).__name__ in {"ViewBackward0", "ToCopyBackward0"}:
        node = node.next_functions[0][0]
    if node is None or _target(node) is None:
        return False if type(node).__name__ in {"DivBackward0", "MulBackward0"} else None
    return bool(getattr(node, "_saved_reduction", None) == MEAN)


def _weighed(found: Sequence[Tensor]) -> list[float]:
    """Fingerprints; read back at once, on the few steps that are looked at."""
    with torch.no_grad():
        usable = [t for t in found if t.numel() and t.layout == torch.strided and not t.is_complex()]
        return [float(f"{fingerprint(t).item():.5e}") for t in usable]
