"""In which order a loss's targets stand, held against the inputs that they came with. No judgement."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pytest_dlcheck.run.losses.graphs.foresight import foresees, is_looked_up
from pytest_dlcheck.run.losses.graphs.next_words import are_shifted_again, are_words, steps_of
from pytest_dlcheck.run.tensors.graph import Node, entire
from pytest_dlcheck.run.tensors.tree import is_whole
from pytest_dlcheck.run.watch.batches.prints import ROWS, rounded, row_prints
from pytest_dlcheck.run.watch.batches.units import holds
from pytest_dlcheck.trace import Row

WHOLE = 4096
"""Nodes of a graph that are walked where targets stand in another order: a deep model's."""
SAMPLES = 8192
"""Samples of a batch that are told apart at most."""
WORDS = 3
"""Different numbers from which on integers are words or pixels, not two classes."""
REORDER = ("Index", "Gather", "Take", "Roll", "Flip", "Sort", "Topk", "Scatter", "PackPadded", "Put")
"""What nodes begin with that may give samples another order."""


@dataclass(frozen=True)
class Pairing:
    """How the targets of one loss stand beside its inputs.

    Attributes:
        permuted: a number of the targets, whatever their order, where they are those of the batch in
            another order and outputs are not; None elsewhere.
        copied: whether they are the integers that the model is called on, place by place.
        foreseen: whether they are the next words, and attention shows these to the model.
        followed: whether they are the next words.
        skipped: whether they are next words shifted once more.
    """

    permuted: float | None = None
    copied: bool = False
    foreseen: bool = False
    followed: bool = False
    skipped: bool = False


def pairing(
    root: Node,
    batches: Collection[Sequence[Tensor]],
    inputs: Sequence[Tensor],
    targets: Sequence[Tensor],
    *,
    further: Sequence[Tensor] = (),
    aligned: bool | None,
    choosing: Collection[Node] = (),
) -> Pairing:
    """What is found of a loss.

    Args:
        root: its node.
        batches: as loaders gave them, inputs first.
        inputs: what the model was called on.
        targets: what the loss has kept.
        further: what the model was called on besides.
        aligned: whether one of them is as a loader gave it; None where none is.
        choosing: nodes that are known to choose a score of each sample.
    """
    if (aligned is not None or not batches) and not any(map(is_whole, (*inputs, *further))):
        return Pairing()  # no words, and no order that could be another
    with torch.no_grad():
        words = [each for each in further if any(_are_copies(each, kept) for kept in targets)]
        given = [*inputs, *further]
        followed = any(steps_of(each, targets) is not None for each in filter(are_words, inputs))
        found = Pairing(
            copied=_are_copied(inputs, targets) or any(is_looked_up(root, each) for each in words),
            foreseen=foresees(root, given, targets),
            followed=followed,
            skipped=not followed and are_shifted_again(given, targets),
        )
        pairs = [(batch, kept) for batch in batches for kept in targets] if aligned is None else []
        for batch, kept in pairs:
            numbers = [_another_order(given, kept) for given in batch[1:]]
            number = next((number for number in numbers if number is not None), None)
            as_given = (
                number is not None and bool(inputs) and all(_are_those(batch[0], x) for x in inputs)
            )
            if as_given and keeps_order(root, len(batch[0]), choosing):
                return replace(found, permuted=number)
    return found


class Pairings:
    """Those of the losses of one optimizer's parameters, added up."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._seen: set[float] = set()

    def add(self, found: Pairing) -> None:
        """One more."""
        self._counts["copied"] += found.copied
        self._counts["foreseen"] += found.foreseen
        self._counts["followed"] += found.followed
        self._counts["skipped"] += found.skipped
        if found.permuted is not None:
            self._counts["permuted"] += 1
            self._seen.add(found.permuted)

    def row(self) -> Row:
        """The counts; ``permuted_sets`` are the different sets of targets among them.

        None counts as skipped beside others that are followed: each head has its own word.
        """
        counts = {name: self._counts[name] for name in ("permuted", "copied", "foreseen")}
        skipped = 0 if self._counts["followed"] else self._counts["skipped"]
        return Row(counts, skipped=skipped, permuted_sets=len(self._seen))


def _another_order(given: Tensor, compared: Tensor) -> float | None:
    """A number of these targets if they are the ones given, sample by sample, in another order."""
    if given.dim() == 0 or not 1 < len(given) <= SAMPLES or given.numel() != compared.numel():
        return None
    one, other = _samples(given), _samples(compared.reshape(given.shape))
    if one == other or sorted(one) != sorted(other):
        return None
    total = sum(math.sin(place) * value for place, value in enumerate(sorted(one), 1))
    return float(f"{total:.9e}")


def _samples(batch: Tensor) -> list[float]:
    """A number per sample, the same on every device; none where samples cannot be told apart."""
    parts = [row_prints(part) for part in torch.split(batch.detach(), ROWS)]
    return [value for part in parts if part is not None for value in rounded(part)]


def _are_those(given: Tensor, called: Tensor) -> bool:
    same = given is called or (given.shape == called.shape and _samples(given) == _samples(called))
    return same or holds(called, given)


def _are_copied(inputs: Sequence[Tensor], targets: Sequence[Tensor]) -> bool:
    """Whether targets are what the model is called on.

    Called several times for one loss, as a decoder is for each word, the next call is given the target
    of the one before; that of the last call, the first or the last of a sum, is given to none.
    """
    words = [kept for kept in targets if is_whole(kept)]
    if len(inputs) <= 1:
        return any(_are_copies(called, kept) for called in inputs for kept in words)
    if not words:
        return False
    ends = words[0], words[-1]
    same = _are_copies if _are_equal_words(*ends) else _are_equal_words
    return all(any(same(called, end) for called in inputs) for end in ends)


def _are_copies(given: Tensor, compared: Tensor) -> bool:
    """Whether both are the same words; one number a sample is its class, which a model may be given."""
    return given.dim() > 1 and given.numel() > len(given) and _are_equal_words(given, compared)


def _are_equal_words(given: Tensor, compared: Tensor) -> bool:
    """Whether both are the same whole numbers, in the same places; those below 0 are left out."""
    whole = is_whole(given) and is_whole(compared)
    if not whole or given.numel() != compared.numel() or given.device != compared.device:
        return False
    one, other = given.reshape(-1), compared.reshape(-1).to(given.dtype)
    if torch.equal(one, other):
        return len(torch.unique(one)) >= WORDS
    known = other >= 0
    return bool(((one == other) | ~known).all()) and len(torch.unique(other[known])) >= WORDS


def keeps_order(root: Node, samples: int, choosing: Collection[Node] = ()) -> bool:
    """Whether nothing between the parameters and the loss may have given samples another order.

    Args:
        root: the node of the loss.
        samples: how many.
        choosing: nodes that are known to choose a score of each sample, in their order.
    """
    found = entire([root], WHOLE)
    return found is not None and not any(
        _may_reorder(node, samples) for node in found if node not in choosing
    )


def _may_reorder(node: Node, samples: int) -> bool:
    """Whether its name says so, or it is none of torch's own, whose names end with a number."""
    name = type(node).__name__
    if not (name[-1].isdigit() or name == "AccumulateGrad"):
        return True
    if name.startswith("Cat"):
        return not node._saved_dim  # noqa: SLF001  so torch calls what a node has kept
    if name.startswith("Stack"):
        return not node._saved_dim and len(node.next_functions) == samples  # noqa: SLF001  as above
    return name.startswith(REORDER)
