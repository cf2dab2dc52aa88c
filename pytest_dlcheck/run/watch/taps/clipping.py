"""Hears gradient clipping, where it is called as ``torch.nn.utils.clip_grad_norm_``.

Wrapped, because clipping has no hook. A loop that has imported the function by name before the watch
began is not heard; nor is clipping by hand.
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
    by_norm, by_value = torch.nn.utils.clip_grad_norm_, torch.nn.utils.clip_grad_value_

    @functools.wraps(by_norm)
    def clip_grad_norm_(parameters: Any, max_norm: float, *args: Any, **kwargs: Any) -> Tensor:
        parameters = _listed(parameters)
        norm = by_norm(parameters, max_norm, *args, **kwargs)
        listener.clipped(parameters, float(max_norm), norm)
        return norm

    @functools.wraps(by_value)
    def clip_grad_value_(parameters: Any, clip_value: float, *args: Any, **kwargs: Any) -> None:
        parameters = _listed(parameters)
        by_value(parameters, clip_value, *args, **kwargs)
        listener.clipped(parameters, float(clip_value), None)

    with ExitStack() as stack:
        for place in _PLACES:
            stack.enter_context(replaced(place, "clip_grad_norm_", clip_grad_norm_))
            stack.enter_context(replaced(place, "clip_grad_value_", clip_grad_value_))
        yield


def _listed(parameters: Any) -> list[Tensor]:
    return [parameters] if isinstance(parameters, Tensor) else list(parameters)
