"""Whether a module is called on one step of time, by the shapes of what it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

_STEP, _IMAGE = 2, 4
"""Axes of one step of a batch: samples and features; samples, channels, height and width."""
_BATCHED = 3
"""Axes of a batch of sequences, as recurrent layers take it."""


def is_one_step(module: nn.Module, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> bool:
    """Whether it is one of torch's recurrent layers, on one step: a cell, or on a sequence of one."""
    if isinstance(module, nn.RNNCellBase):
        return True
    given = arguments[0] if arguments else named.get("input")
    if not isinstance(module, nn.RNNBase) or not isinstance(given, Tensor):
        return False
    return given.shape[1 if module.batch_first and given.dim() == _BATCHED else 0] == 1


def are_steps(given: Sequence[Tensor], state: Tensor) -> bool:
    """Whether all that changes from call to call is one step: of vectors or numbers, or an image.

    A segment of a sequence has an axis more; what is the same for all samples is a number of the call.

    Args:
        given: what changes, besides the state.
        state: what comes of the call before.
    """
    return state.dim() in {_STEP, _IMAGE} and all(_is_step(one, state) for one in given)


def _is_step(given: Tensor, state: Tensor) -> bool:
    if not given.numel() or len(given) != len(state) or not bool((given != given[:1]).any()):
        return False
    if not given.is_floating_point():
        return given.numel() == len(given) and state.dim() == _STEP
    return given.dim() == state.dim() and given.shape[2:] == state.shape[2:]
