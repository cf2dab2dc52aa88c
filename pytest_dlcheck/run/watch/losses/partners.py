"""Which targets inputs come with, look after look: whether they change partners. No judgement.

Inputs that are shuffled without their targets are told from labels that change for a reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from pytest_dlcheck.run.losses.graphs.kept import NONE
from pytest_dlcheck.run.losses.graphs.near import OF_CLASSES, Near
from pytest_dlcheck.run.losses.graphs.written import Written
from pytest_dlcheck.run.tensors.graph import Node
from pytest_dlcheck.run.watch.batches.loaded import KEPT
from pytest_dlcheck.run.watch.batches.prints import Prints, read, weigh
from pytest_dlcheck.run.watch.losses.late import ROWS, Late, rows_of
from pytest_dlcheck.run.watch.losses.orders import keeps_order
from pytest_dlcheck.run.watch.losses.swaps import KNOWN, Sample, swaps

LOOKS = 64
"""Losses that are remembered: the first ones that are looked at."""
TOGETHER = 16
"""Losses whose samples are weighed together."""
GRAPHS = 2
"""Graphs that are walked to see whether outputs are reordered: a training's are alike."""


@dataclass(frozen=True)
class Partners:
    """One loss's inputs and targets, sample by sample.

    Attributes:
        inputs: those of a batch, of each tensor that the model is given.
        targets: the same of its targets.
        are_classes: whether they are whole numbers, one a sample, and each counts as much as any other.
        rows: some numbers of the inputs, and the classes, where nothing else could tell them.
    """

    inputs: tuple[Prints, ...]
    targets: Prints
    are_classes: bool
    rows: tuple[Tensor, Tensor] | None = None

    @property
    def samples(self) -> list[Sample]:
        """What tells an input from others: its numbers in all of them."""
        return list(zip(*(prints.numbers for prints in self.inputs), strict=True))


class Partnerships:
    """Those of one optimizer's losses."""

    def __init__(self) -> None:
        self._found: list[Partners] = []
        self._late = Late()

    def add(self, found: Partners | None, step: int = 0) -> None:
        """One more, before this step."""
        if found is not None and found.rows is not None:
            self._late.add(step, *found.rows)
        if found is not None and len(self._found) < LOOKS:
            self._found.append(found)
            if not len(self._found) % TOGETHER:
                weigh(self._prints(self._found[-TOGETHER:]))

    def row(self) -> dict[str, int]:
        """``swappable`` losses that tell, ``swapped``: whose inputs have others' targets, ``by_lot``.

        Where none tells, as no input comes again: what the labels of the step after say.
        """
        read(self._prints(self._found))
        found = swaps((f.samples, f.targets.numbers, f.are_classes) for f in self._found)
        told = {"swappable": len(found.told), "swapped": sum(found.told), "by_lot": found.by_lot}
        return told if found.told else {**told, **self._late.row()}

    def _prints(self, found: Iterable[Partners]) -> Iterator[Prints]:
        return (prints for each in found for prints in (*each.inputs, each.targets))


class Couples:
    """Looks at losses one after the other."""

    def __init__(self) -> None:
        self._walked = 0
        self._in_order = True

    def look(
        self,
        near: Near,
        inputs: Sequence[Tensor],
        further: Sequence[Tensor],
        targets: Sequence[Tensor],
        *,
        by_hand: Sequence[Written] = (),
        remembers: bool = False,
    ) -> Partners | None:
        """Who stands beside whom; None where a model is given what is of no sample, or reorders it.

        Args:
            near: the nodes next to the loss.
            inputs: what models were called on: the first tensors.
            further: the other ones.
            targets: what the loss has kept and no gradients flow into.
            by_hand: what it compares where it is written out.
            remembers: whether the model may know what it was called on before.
        """
        own = [given for given in inputs if given.grad_fn is None]
        if len(own) != 1 or not own[0].dim() or not self._in_order:
            return None
        given, count = [own[0], *further], own[0].size(0)
        if len(given) >= KEPT or not all(_is_of(count, each) for each in further):
            return None
        target = next((t for t in targets if t.shape[:1] == (count,)), None)
        if target is None or count < KNOWN or not target.numel() or _is_of_pairs(target):
            return None
        if self._walked < GRAPHS:
            self._walked += 1
            self._in_order = keeps_order(near.root, count, [each.node for each in by_hand])
        if not self._in_order:
            return None
        rows, partners = [print_ for each in given if (print_ := Prints.of(each))], Prints.of(target)
        if len(rows) < len(given) or partners is None:
            return None
        whole = not target.is_floating_point() and target.numel() == count
        of_classes = near.of(OF_CLASSES) if whole else ()
        weighed = any(each.is_weighed for each in by_hand) or any(map(_weighs_each, of_classes))
        are_classes = whole and not weighed
        late = are_classes and not further and not remembers and given[0].dim() > 1
        kept = (rows_of(given[0]), target.flatten()[:ROWS].long().cpu()) if late else None
        return Partners(tuple(rows), partners, are_classes, kept)


def _is_of(count: int, given: Tensor) -> bool:
    """Whether it holds something of each sample that a loop has put there."""
    return given.shape[:1] == (count,) and given.grad_fn is None


def _weighs_each(node: Node) -> bool:
    """Whether a loss of classes is given out for each sample: by what an action earned, perhaps."""
    return bool(node._saved_reduction == NONE)  # noqa: SLF001  so torch calls what a node has kept


def _is_of_pairs(target: Tensor) -> bool:
    """Whether each sample may be held against all others of its batch, as in contrastive losses."""
    return target.numel() % (target.size(0) ** 2) == 0
