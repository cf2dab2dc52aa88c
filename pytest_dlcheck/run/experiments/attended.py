"""Does attention hide padding, or what is no padding?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from pytest_dlcheck.run.calls.operations import Operation, operations
from pytest_dlcheck.run.errors import NotApplicableError
from pytest_dlcheck.run.experiment import Experiment
from pytest_dlcheck.run.passes.entry import entry
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import batch_size, take
from pytest_dlcheck.trace import Row

_SAMPLES = 16
_STEPS, _FEATURES = 2, 3
"""Dimensions of a batch of sequences: of tokens, of features."""
_RUN = 2
"""Equal values at an end of a sequence from which they may be padding."""
_FEW, _MANY = 4, 3
"""Kept places that must all be padding, and distinct values among hidden ones, to tell them apart."""


class Attended(Experiment):
    """Looks at what every attention hides from all of its queries, in eval mode.

    Fills ``attended``: a row per attention that hides anything of an input that seems to be padded,
    ``inverted`` where all that it leaves is one and the same value, and what it hides differs.
    """

    fact = "attended"

    def run(self, rig: Rig) -> Iterable[Row]:
        """The rows."""
        if rig.input_batch_dim != 0:
            raise NotApplicableError("the samples are not on the first axis")
        with rig.undisturbed(training=False):
            whole = entry(rig)
            inputs, size = whole.inputs, batch_size(whole.inputs, 0)
            if size is not None and size > _SAMPLES:
                inputs = take(inputs, torch.arange(_SAMPLES), 0)
            padded = [p for name, t in whole.named() for p in padded_sequences(name, t)]
            if not padded:
                raise NotApplicableError("no input is a batch of sequences that end, or begin, alike")
            with torch.enable_grad():  # torch's fast path hides the mask
                found = operations(rig.model, lambda: whole.function(inputs))
        return [row for one in found for row in _rows(one, padded)]


def padded_sequences(name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Some sequences, a number for each distinct value, where several end or begin alike."""
    tensor = tensor[:_SAMPLES] if tensor.dim() else tensor
    whole = not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)
    plain = tensor.dim() == _STEPS and whole
    if not plain and not (tensor.dim() == _FEATURES and tensor.is_floating_point()):
        return
    if tensor.size(1) <= _RUN or not tensor.numel():
        return
    rows = tensor.reshape(tensor.size(0) * tensor.size(1), -1)
    values = torch.unique(rows, dim=0, return_inverse=True)[1].reshape(tensor.shape[:2])
    ends = (values[:, -_RUN:], values[:, :_RUN])
    alike = ((end == end[:, :1]).all(1) for end in ends)
    if any(int(same.sum()) >= _RUN for same in alike):
        yield name, values


def _rows(one: Operation, padded: list[tuple[str, Tensor]]) -> Iterator[Row]:
    hidden = _hidden(one)
    for name, values in padded if hidden is not None and bool(hidden.any()) else ():
        if hidden is None or hidden.shape != values.shape:
            continue
        masked = hidden.any(1, keepdim=True)  # where all is hidden by a finite number, nothing seems so
        left, gone = values[masked & ~hidden], values[hidden]
        runs = int((masked & ~hidden).sum(1).max()) >= _RUN  # one place each is a token for the whole
        alone = runs and left.numel() >= _FEW and bool((left == left[0]).all())
        yield Row(
            site=one.module,
            line=one.line,
            operation=one.name,
            input=name,
            hidden=float(hidden.float().mean()),
            inverted=alone and len(set(gone.tolist())) >= _MANY and not bool((gone == left[0]).any()),
        )


def _hidden(one: Operation) -> Tensor | None:
    """Which keys of each sample no query attends to, bool of shape ``[batch, keys]``."""
    if one.name == "multi_head_attention_forward":
        mask = one.options.get("key_padding_mask")
        return None if mask is None else _off(mask)
    if one.name == "scaled_dot_product_attention":
        given = one.options.get("attn_mask", one.inputs[3] if len(one.inputs) > 3 else None)  # noqa: PLR2004
        if given is None:
            return None
        mask = ~given if given.dtype == torch.bool else _off(given)
        return _over_queries(mask.expand(*one.outputs[0].shape[:-1], mask.size(-1)))
    if one.name == "softmax":
        return _over_queries(one.outputs[0].nan_to_num() == 0)
    return None


def _off(mask: Tensor) -> Tensor:
    return mask if mask.dtype == torch.bool else mask == float("-inf")


def _over_queries(hidden: Tensor) -> Tensor | None:
    if hidden.dim() == _FEATURES and hidden.size(-1) == 1:
        hidden = hidden[..., 0]
    if hidden.dim() <= _STEPS:  # one query for each sample, as where a sequence is pooled
        return hidden if hidden.dim() == _STEPS else None
    return hidden.movedim(-1, 1).flatten(2).all(2)
