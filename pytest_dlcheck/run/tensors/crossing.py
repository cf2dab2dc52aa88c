"""Pairs taken apart: each target with the inputs, or the outputs, of another sample. Calls no model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.run.errors import NotApplicableError
from pytest_dlcheck.run.tensors.target_keys import ALL_KEYS
from pytest_dlcheck.run.tensors.tree import batch_size, map_tensors, tensors

_PAIR = 2


class Crossing:
    """Tells a recipe's inputs and targets apart, and pairs each target with other inputs.

    Args:
        recipe: its conventions.
        first: a batch, to be refused at once where nothing can be told apart.

    Raises:
        NotApplicableError: inputs and targets cannot be told apart; says why.
    """

    def __init__(self, recipe: Recipe, first: Any) -> None:
        self.recipe = recipe
        if recipe.batch_dim is None:
            raise NotApplicableError("samples do not stand alone (batch_dim=None): no pairs to break")
        self.dim = recipe.batch_dim
        self.split(first)

    def split(self, batch: Any) -> tuple[list[Tensor], set[int]]:
        """The input tensors of a batch, and the identities of all tensors that are targets.

        Raises:
            NotApplicableError: they cannot be told apart.
        """
        targets = {id(t) for part in self._targets(batch) for t in tensors(part)}
        inputs = [t for t in tensors(batch) if id(t) not in targets]
        if not inputs and not _is_pair(batch):
            raise NotApplicableError("the batch holds nothing but targets: no pairs to break")
        return inputs, targets

    def crossed(self, batch: Any, shift: int) -> Any:
        """The batch with its inputs moved on by ``shift`` samples against its targets.

        Where samples lie end to end, the targets are moved instead.
        """
        if batch_size(batch, self.dim) is None:
            return self.moved(batch, shift)
        if _is_pair(batch) and self.recipe.targets is None:
            return _as_pair(batch, rolled(batch[0], shift, self.size(batch), self.dim), batch[1])
        _, targets = self.split(batch)
        size = self.size(batch)
        roll = _rolling(shift, size, self.dim)
        return map_tensors(batch, lambda t: t if id(t) in targets else roll(t))

    def moved(self, batch: Any, shift: int) -> Any:
        """The batch with its targets moved on by ``shift`` samples against its inputs."""
        size = self.size(batch)
        if _is_pair(batch) and self.recipe.targets is None:
            return _as_pair(batch, batch[0], rolled(batch[1], shift, size, self.dim))
        _, targets = self.split(batch)
        roll = _rolling(shift, size, self.dim)
        return map_tensors(batch, lambda t: roll(t) if id(t) in targets else t)

    def replaced(self, batch: Any, other: Any) -> Any:
        """The batch with the inputs of another one, both of one sample.

        Raises:
            NotApplicableError: their shapes differ.
        """
        mine, targets = self.split(batch)
        theirs, _ = self.split(other)
        if [t.shape for t in mine] != [t.shape for t in theirs]:
            raise NotApplicableError("batches of one sample, of different shapes: no pairs to break")
        instead = {id(a): b for a, b in zip(mine, theirs, strict=True)}
        return map_tensors(batch, lambda t: t if id(t) in targets else instead[id(t)])

    def size(self, batch: Any) -> int:
        """The number of samples."""
        targets = batch[1] if _is_pair(batch) and self.recipe.targets is None else None
        if isinstance(targets, (list, tuple)) and _is_per_sample(targets, len(targets)):
            return len(targets)
        return batch_size(batch, self.dim) or batch_size(list(self._targets(batch)), 0) or 1

    def _targets(self, batch: Any) -> Iterator[Any]:
        if self.recipe.targets is not None:
            yield from self._named_by_recipe(batch)
        elif isinstance(batch, Mapping):
            found = [batch[key] for key in batch if key in ALL_KEYS]
            if not found:
                raise NotApplicableError("the batch names no targets: no pairs to break")
            yield from found
        elif _is_pair(batch):
            yield batch[1]
        else:
            raise NotApplicableError("inputs and targets of a batch cannot be told apart")

    def _named_by_recipe(self, batch: Any) -> Iterator[Tensor]:
        assert self.recipe.targets is not None
        places = {_place(t) for t in tensors(self.recipe.targets(batch))}
        mine = [t for t in tensors(batch) if _place(t) in places]
        if not mine or {_place(t) for t in mine} != places or len(mine) == len(tensors(batch)):
            raise NotApplicableError("targets= makes the targets of the inputs: no pairs to break")
        yield from mine


class BlindFeed:
    """Batches whose targets are in order, each with the inputs of another sample; never its own.

    Args:
        crossing: tells inputs and targets apart.
        next_batch: where batches come from.
        second: the second batch to come, whose inputs the first takes if both hold one sample.
        seed: of the shifts; no global random number is drawn.
    """

    def __init__(
        self, crossing: Crossing, next_batch: Callable[[], Any], second: Any, seed: int
    ) -> None:
        self._crossing, self._next, self._other = crossing, next_batch, second
        self._random = Random(seed)

    def __call__(self) -> Any:
        """The next batch."""
        batch, other = self._next(), self._other
        self._other = batch
        size = self._crossing.size(batch)
        if size > 1:
            return self._crossing.crossed(batch, self._random.randrange(1, size))
        if other is batch:
            raise NotApplicableError("there is one sample only: no pairs to break")
        return self._crossing.replaced(batch, other)


def rolled(tree: Any, shift: int, size: int, dim: int = 0) -> Any:
    """The nest with its samples moved on: tensors of that size, and lists of that many samples."""
    if isinstance(tree, (list, tuple)) and _is_per_sample(tree, size):
        moved = [*tree[-shift:], *tree[:-shift]]
        return moved if isinstance(tree, list) else tuple(moved)
    if isinstance(tree, (list, tuple)) and not hasattr(tree, "_fields"):
        return type(tree)(rolled(part, shift, size, dim) for part in tree)
    return map_tensors(tree, _rolling(shift, size, dim))


def _rolling(shift: int, size: int, dim: int) -> Callable[[Tensor], Tensor]:
    def roll(tensor: Tensor) -> Tensor:
        for axis in (dim, 0):  # labels lie along the first axis, wherever the inputs' samples do
            if tensor.dim() > axis and tensor.size(axis) == size:
                return torch.roll(tensor, shift, axis)
        return tensor

    return roll


def _is_per_sample(tree: list[Any] | tuple[Any, ...], size: int) -> bool:
    """Whether it holds one entry a sample (images of all sizes) rather than a tensor of all of them."""
    if len(tree) != size or size == 1 or hasattr(tree, "_fields"):
        return False
    of_all = [isinstance(t, Tensor) and t.dim() > 0 and t.size(0) == size for t in tree]
    return not any(of_all) and len({type(part) for part in tree}) == 1


def _is_pair(batch: Any) -> bool:
    return isinstance(batch, (tuple, list)) and len(batch) == _PAIR


def _as_pair(batch: Any, inputs: Any, targets: Any) -> Any:
    if hasattr(batch, "_fields"):
        return type(batch)(inputs, targets)
    return type(batch)((inputs, targets))


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
