"""What a module holds itself. Models overwrite ``parameters``, and then it takes no argument."""

from __future__ import annotations

from torch import nn


def direct(module: nn.Module) -> list[nn.Parameter]:
    """Its own parameters, without those of its parts."""
    return [p for _, p in nn.Module.named_parameters(module, recurse=False)]
