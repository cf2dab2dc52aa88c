"""Whether a model's samples go on where others ended, in the batch before. No judgement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader

from pytest_dlcheck.run.calls.randomness import limit
from pytest_dlcheck.run.data.epoch import DRAWN
from pytest_dlcheck.run.data.samples import is_map_style
from pytest_dlcheck.run.data.unindexed import ignores_its_numbers
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.compare import float_outputs, relative_change
from pytest_dlcheck.run.tensors.tree import batch_size, copied, take

_FEWEST = 4
"""Samples of a batch from which on their places can be told apart."""


def is_shuffled(rig: Rig) -> bool:
    """Whether the user's own loader draws the samples of each batch at random."""
    loader = rig.recipe.train_data
    if not isinstance(loader, DataLoader) or not is_map_style(loader):
        return False
    plain = type(loader.batch_sampler) is BatchSampler and isinstance(loader.sampler, DRAWN)
    return plain and not ignores_its_numbers(loader.dataset)


def goes_on_by_place(rig: Rig, attributes: Iterable[tuple[str, str]]) -> bool:
    """Whether the output of a sample depends on which sample was at its place in the call before.

    Asked in eval mode, where no other place may feel it, and in train mode, where a model that keeps its
    state for predictions alone begins anew. What is kept for an id follows the sample to any place.

    Args:
        rig: the recipe; its ``training_step`` may begin a state anew, so it is not asked then.
        attributes: what calls change, by module and name.
    """
    if rig.recipe.training_step is not None or rig.call.whole_step or rig.input_batch_dim is None:
        return False
    modules = [(rig.model.get_submodule(module), name) for module, name in attributes]
    kept = [(module, name) for module, name in modules if name in vars(module)]  # buffers are, anyway
    with suppress(Exception):  # the user's model may refuse another order
        mine, others = _felt(rig, kept, training=False)
        return mine and not others and _felt(rig, kept, training=True)[0]
    return False


def _felt(rig: Rig, kept: list[tuple[nn.Module, str]], *, training: bool) -> tuple[bool, bool]:
    """Whether another first sample is felt at its place in the next call, and at others."""
    dim = rig.input_batch_dim or 0
    size = batch_size(rig.call.inputs, dim)
    if size is None or size < _FEWEST:
        return False, False
    whole = torch.arange(size)
    replaced = whole.clone()
    replaced[0] = 1
    answers = []
    for before in (whole, replaced):
        with rig.undisturbed(training=training), _put_back(kept), torch.no_grad():
            _heard(rig, rig.call(take(rig.call.inputs, before, dim)))
            answers.append(float_outputs(rig.call(take(rig.call.inputs, whole.roll(1), dim))))
    pairs = [_rows(one, answers[1][name], size) for name, one in answers[0].items()]
    mine, others = ([parts[i] for parts in pairs if parts] for i in (0, 1))
    return _differ(mine), _differ(others)


def _heard(rig: Rig, outputs: Any) -> None:
    """Hand outputs to the user's loss, which may be where a state is begun anew."""
    if rig.recipe.loss is not None:
        rig.objective.loss_of_outputs(outputs, rig.objective.targets(rig.batch))


def _differ(pairs: list[tuple[Tensor, Tensor]]) -> bool:
    return any(relative_change(one, other) > limit(one) for one, other in pairs)


def _rows(one: Tensor, other: Tensor, size: int) -> list[tuple[Tensor, Tensor]]:
    """The outputs at the first place and at the others, of an output that has a row for each sample."""
    axis = next((axis for axis, length in enumerate(one.shape[:2]) if length == size), None)
    if axis is None or one.shape != other.shape:
        return []
    parts = (slice(0, 1), slice(1, None))
    return [(one.movedim(axis, 0)[part], other.movedim(axis, 0)[part]) for part in parts]


@contextmanager
def _put_back(kept: list[tuple[nn.Module, str]]) -> Iterator[None]:
    held: list[tuple[nn.Module, str, Any]] = [
        (module, name, copied(getattr(module, name))) for module, name in kept
    ]
    try:
        yield
    finally:
        for module, name, value in held:
            setattr(module, name, value)
