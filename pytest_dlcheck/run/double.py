"""A model in double precision for a while, and back to the memory that it had. Nothing is run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.tensors.memory import refilled
from pytest_dlcheck.run.tensors.tree import map_tensors


def double_inputs(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The same call with floating inputs, and what it makes itself, in double precision."""

    def cast(tensor: Tensor) -> Tensor:
        return tensor.double() if tensor.is_floating_point() else tensor

    def call(inputs: Any) -> Any:
        default = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)  # for masks and constants made in the forward
        try:
            return function(map_tensors(inputs, cast))
        finally:
            torch.set_default_dtype(default)

    return call


@dataclass(frozen=True)
class Memory:
    """What lies behind every parameter, and the buffers themselves, which modules may share."""

    parameters: list[tuple[Tensor, Tensor]]
    buffers: list[tuple[nn.Module, str, Tensor, Tensor]]

    @classmethod
    def of(cls, model: nn.Module) -> Memory:
        """What there is now."""
        owned = ((module, name, b) for module in model.modules() for name, b in module._buffers.items())  # noqa: SLF001
        return cls(
            [(p, p.data) for p in model.parameters()],
            [(module, name, b, b.data) for module, name, b in owned if b is not None],
        )

    @property
    def is_complex(self) -> bool:
        """Whether anything in it is."""
        behind = [*(before for _, before in self.parameters), *(each[3] for each in self.buffers)]
        return any(before.is_complex() for before in behind)

    def restore(self) -> None:
        """Go back to the memory that was there, which others may share, with the numbers of today."""
        for parameter, before in self.parameters:
            if parameter.dtype != before.dtype:
                parameter.data = refilled(before, parameter.data)
        for module, name, buffer, before in self.buffers:
            now = module._buffers.get(name)  # noqa: SLF001  as torch casts them
            if now is not None and now.dtype != before.dtype:
                buffer.data = refilled(before, now.data)
                module._buffers[name] = buffer  # noqa: SLF001  as above
