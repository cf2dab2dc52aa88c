"""What the scores of a classification stand opposite to: another order of places, or themselves.

Read from the graph of a loss. No judgement.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from pytest_dlcheck.run.losses.graphs.near import OF_CLASSES, Near
from pytest_dlcheck.run.losses.graphs.next_words import are_words, laid_out
from pytest_dlcheck.run.tensors.graph import Node, inputs_of, kind_of

_SHAPES = ("View", "UnsafeView", "ReshapeAlias", "Transpose", "T", "Permute", "Clone", "Contiguous")
_SCALES = ("Div", "Mul", "LogSoftmax")
_PRODUCTS = frozenset({"Mm", "Bmm"})
_FEWEST = 4
"""Samples from which on a count upwards is no accident."""
_ENOUGH = 8
"""Samples whose targets are all among their inputs, which is no accident for real numbers."""
_MOST = 4096
"""Numbers of a sample that are looked through."""
_TWO = 2
_PLACES = 3
"""Axes of scores for every place of every sequence: two, and the classes."""


def turned(near: Near, batch: Sequence[Tensor], inputs: Sequence[Tensor]) -> str:
    """Scores ``[steps, samples, classes]`` and targets ``[samples, steps]``, both flattened, in words.

    Or the other way round. How targets lay before is known where a loader gave them so, and where they
    are the next words of what a model is called on.

    Args:
        near: the nodes next to the loss.
        batch: what the loader gave.
        inputs: what models were called on.
    """
    for node in near.of(OF_CLASSES) if batch or inputs else ():
        target = near.targets.get(node)
        scores = [] if target is None or target.dim() != 1 else _shape_before(node)
        if target is None or len(scores) != _PLACES or scores[0] == scores[1]:
            continue
        for shape in _laid_out(target, scores[:2], batch, inputs):
            if scores[:2] == shape[::-1]:
                return f"{scores} beside {shape}"
    return ""


def _laid_out(
    target: Tensor, places: list[int], batch: Sequence[Tensor], inputs: Sequence[Tensor]
) -> Iterator[list[int]]:
    """The shapes of the targets before they were flattened, by what they are; of so many places."""
    yield from (list(given.shape) for given in batch if _is_flattened(given, target))
    for words in filter(are_words, inputs):
        if sorted(words.shape) == sorted(places) and (shape := laid_out(words, target)):
            yield shape


def is_its_own(near: Near) -> bool:
    """Whether each sample is to be told among all by its likeness to itself.

    Products of features with these same features, ``z @ z.T``, whose diagonal is the right answer.
    """
    for node in near.of(OF_CLASSES) if not near.lacks(_PRODUCTS) else ():
        target = near.targets.get(node)
        if target is None or target.dim() != 1 or len(target) < _FEWEST or not _multiplies_its_own(node):
            continue
        if torch.equal(target, torch.arange(len(target), device=target.device)):
            return True
    return False


def _multiplies_its_own(loss: Node) -> bool:
    """Whether scores are products of something with itself."""
    product = _down(next(iter(inputs_of(loss)), None), (*_SHAPES, *_SCALES))
    sides = inputs_of(product) if kind_of(product) in _PRODUCTS else []
    return len(sides) > 1 and _down(sides[0], _SHAPES) is _down(sides[1], _SHAPES)


def among_the_inputs(inputs: Sequence[Tensor], targets: Sequence[Tensor]) -> str:
    """Which numbers of the inputs the targets are, in words; each of them, in every sample.

    Several in a row only where one model is called: of two, one may be a posterior, which sees them.

    Args:
        inputs: what models were called on.
        targets: what the loss has kept, of which no gradients are asked.
    """
    most = _MOST if len(inputs) == 1 else 1
    return next((f"input{p}" for t in targets for x in inputs if (p := _place_of(t, x, most))), "")


def _place_of(target: Tensor, given: Tensor, most: int) -> str:
    """Where one number of each sample is its one target, or some in a row are its targets.

    Empty where there is no such place, or where it is all that there is along that axis.
    """
    are_real = target.is_floating_point() and given.is_floating_point()
    if not are_real or given.device != target.device or given.dim() <= 1 or len(given) < _ENOUGH:
        return ""
    several = target.numel() // len(given)
    if several * len(given) != target.numel() or not 1 < given[0].numel() <= _MOST:
        return ""
    if not 0 < several < max(_TWO, given.shape[1]) or several > most:
        return ""
    wanted = target.detach().reshape(len(given), several)
    if 2 * len(torch.unique(wanted[:, 0])) < len(given):
        return ""
    same = (given.detach() == wanted[:, 0].reshape(-1, *[1] * (given.dim() - 1))).all(dim=0)
    for first, *others in reversed(same.nonzero().tolist()):
        if all(_is_at(wanted[:, k], given, (first + k, *others)) for k in range(1, several)):
            steps = str(first) if several == 1 else f"{first}:{first + several}"
            return f"[{', '.join([steps, *map(str, others)])}]"
    return ""


def _is_at(wanted: Tensor, given: Tensor, place: tuple[int, ...]) -> bool:
    found = given.detach()
    for each in place:
        if each >= found.shape[1]:
            return False
        found = found.select(1, each)
    return torch.equal(wanted, found)


def _is_flattened(given: Tensor, target: Tensor) -> bool:
    whole = not (given.is_floating_point() or given.dtype == torch.bool)
    if not whole or given.dim() != 2 or given.shape[0] == given.shape[1] or target.dim() != 1:  # noqa: PLR2004
        return False
    alike = given.numel() == target.numel() and given.device == target.device
    return alike and bool((given.reshape(-1) == target).all())


def _shape_before(node: Node) -> list[int]:
    """The shape of the scores before they were flattened; empty where they were not."""
    for child in inputs_of(node)[:1]:
        below = _down(child, ("LogSoftmax",))
        sizes = getattr(below, "_saved_self_sym_sizes", None) if kind_of(below) in _SHAPES[:3] else None
        return [] if sizes is None else [int(size) for size in sizes]
    return []


def _down(node: Node, kinds: tuple[str, ...]) -> Node:
    """The first node from here on that is of none of these kinds."""
    while node is not None and kind_of(node) in kinds and len(inputs_of(node)) == 1:
        node = inputs_of(node)[0]
    return node
