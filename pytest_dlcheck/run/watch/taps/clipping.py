"""Hears gradients being clipped.

Wrapped, because torch has no hook there: for norms the function in which ``clip_grad_norm_`` does it, so
that a name for this that was imported before the watch began is heard as well.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.watch.listener import Listener
from pytest_dlcheck.run.watch.replacing import replaced

_PLACES = (torch.nn.utils, torch.nn.utils.clip_grad)


@contextmanager
def tapped(listener: Listener) -> Iterator[None]:
    """Listen."""
    by_norm = torch.nn.utils.clip_grad._clip_grads_with_norm_
    by_value = torch.nn.utils.clip_grad_value_

    @functools.wraps(by_norm)
    def scale(parameters: Any, max_norm: float, total_norm: Tensor, *args: Any, **kwargs: Any) -> None:
        parameters = _listed(parameters)
        by_norm(parameters, max_norm, total_norm, *args, **kwargs)
        listener.clipped(parameters, float(max_norm), total_norm)

    @functools.wraps(by_value)
    def clip_grad_value_(parameters: Any, clip_value: float, *args: Any, **kwargs: Any) -> None:
        parameters = _listed(parameters)
        listener.values_are_clipped(parameters)
        by_value(parameters, clip_value, *args, **kwargs)
        listener.clipped(parameters, float(clip_value), None)

    with ExitStack() as stack:
        stack.enter_context(replaced(torch.nn.utils.clip_grad, "_clip_grads_with_norm_", scale))
        for place in _PLACES:
            stack.enter_context(replaced(place, "clip_grad_value_", clip_grad_value_))
        yield


def _listed(parameters: Any) -> list[Tensor]:
    return [parameters] if isinstance(parameters, Tensor) else list(parameters)
