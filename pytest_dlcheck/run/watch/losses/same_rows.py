"""Samples of a batch that are all the same, while their targets differ. No judgement."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Sequence

import torch
from torch import Tensor, nn

FEWEST = 8
"""Samples (count) that are not the same by chance."""
PART = 8
"""Numbers (count) of a sample by which it is known again."""
_TWO = 2


class SameRows:
    """Batches of one sample, in the losses that are looked at, and whether it is another in each."""

    def __init__(self) -> None:
        self._last: list[float] = []
        self._output: weakref.ref[Tensor] | None = None

    def gives(self, outputs: Sequence[Tensor]) -> None:
        """A model has answered."""
        self._output = weakref.ref(outputs[0]) if outputs else None

    def told(
        self,
        model: nn.Module | None,
        inputs: Sequence[Tensor],
        further: Sequence[Tensor],
        targets: Sequence[Tensor],
        *,
        loaded: bool,
    ) -> str:
        """As :func:`are_one`, where the sample is another one than in the loss before, or from a loader.

        One state may be asked about for ever, and a model that draws may answer it in many ways: what
        is overwritten changes, and is answered in one.
        """
        shapes = are_one(model, inputs, further, targets)
        output, self._output = (self._output() if self._output else None), None
        if not shapes or (output is not None and not _are_alike(output)):
            return ""
        last, self._last = self._last, inputs[0].detach()[0].flatten()[:PART].tolist()
        return shapes if loaded or (last and last != self._last) else ""


def are_one(
    model: nn.Module | None,
    inputs: Sequence[Tensor],
    further: Sequence[Tensor],
    targets: Sequence[Tensor],
) -> str:
    """What a model is called on, in words, where all its samples are one; empty where they are not.

    Not where the one sample is of zeros and ones, as a constant state is, nor where the model may be
    given more than is known, by which its samples differ.

    Args:
        model: which was called last.
        inputs: the first tensors that models were called on.
        further: what they were called on besides.
        targets: what the loss has kept.
    """
    if len(inputs) != 1 or further or model is None or not _are_same(inputs[0]):
        return ""
    given = inputs[0].detach()
    if given.stride(0) == 0:  # expanded
        return ""
    if bool(((given[0] == 0) | (given[0] == 1)).all()) or len(torch.unique(given[0])) < _TWO:
        return ""
    if not any(_differ(target, len(given)) for target in targets) or not _takes_one(model):
        return ""
    return str(list(given.shape))


def _are_same(given: Tensor) -> bool:
    """Whether each row is the first; real numbers, as words are often the same where they begin."""
    if not given.is_floating_point() or given.dim() < _TWO or given.size(0) < FEWEST:
        return False
    rows = given.detach()
    return torch.equal(rows[1], rows[0]) and bool((rows == rows[:1]).all())


def _are_alike(output: Tensor) -> bool:
    """Whether all rows are answered alike, but for rounding."""
    if not output.dim() or not output.is_floating_point():
        return True
    answers = output.detach()
    return torch.allclose(answers, answers[:1].expand_as(answers), rtol=1e-3, atol=1e-5)


def _differ(target: Tensor, samples: int) -> bool:
    """Whether there is a target for each sample, and it is not always the same."""
    if not target.dim() or len(target) != samples:
        return False
    return bool((target.detach() != target.detach()[:1]).any())


def _takes_one(model: nn.Module) -> bool:
    try:
        return len(inspect.signature(model.forward).parameters) == 1
    except (TypeError, ValueError):
        return False
