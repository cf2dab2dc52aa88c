"""What a probe is shown of a training, whoever drives it: a recipe's own loop, ours, or any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import nn


class Grouped(Protocol):
    """What steps parameters, or what is left of it: its parameter groups."""

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups, as torch's optimizers have them."""


class Scene(Protocol):
    """A training, without its data, its loss and its loop: ``Rig`` is more than that."""

    @property
    def model(self) -> nn.Module:
        """The root module."""

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        """Every parameter that may train, by name."""

    @property
    def optimizers(self) -> Sequence[Grouped]:
        """What steps them."""

    def is_frozen(self, name: str) -> bool:
        """Whether it is declared that this parameter or buffer must not train."""
