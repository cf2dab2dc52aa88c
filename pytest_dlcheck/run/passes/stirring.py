"""Parameters that begin next to zero, given small values for a while: they hide what they multiply."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from pytest_dlcheck.run.probe import read_in_bulk
from pytest_dlcheck.run.rig import Rig

_STIR = 0.02
"""Standard deviation given to parameters that are next to zero: a usual one of an initialisation."""
_TINY = 1e-3
"""Largest value of a parameter that is next to zero, as the scales of residual branches begin."""


@contextmanager
def stirred(rig: Rig) -> Iterator[None]:
    """Give trainable parameters that are next to zero small random values meanwhile.

    What an architecture connects does not depend on its weights; heads and residual branches that are
    initialised to zero, or scaled by 1e-6, would hide it. Call it in a trial without steps.
    """
    generator = torch.Generator().manual_seed(rig.seed)
    tiny = rig.once("parameters next to zero", lambda: _tiny(rig.model))
    still = {p: p.detach().clone() for p in tiny}
    try:
        for parameter in still:
            noise = torch.randn(parameter.shape, generator=generator) * _STIR
            parameter.data.copy_(noise)
        yield
    finally:
        for parameter, values in still.items():
            parameter.data.copy_(values)


def _tiny(model: nn.Module) -> list[nn.Parameter]:
    held = [p for p in model.parameters() if p.requires_grad and p.numel()]
    largest = read_in_bulk([torch.linalg.vector_norm(p.detach(), torch.inf) for p in held])
    return [p for p, size in zip(held, largest, strict=True) if size <= _TINY]
