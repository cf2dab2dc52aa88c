"""Parameters that come into being while a call runs: in which module's forward, on which line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

_TORCH = str(Path(torch.__file__).resolve().parent)


@dataclass(frozen=True)
class Creation:
    """One parameter, as it was registered.

    Attributes:
        parameter: it.
        name: ``Linear.weight``.
        line: ``file.py:42`` in the user's code; empty where there is none.
        site: the dotted name of the model's module in whose code it happened; None outside of any.
    """

    parameter: nn.Parameter
    name: str
    line: str
    site: str | None


@contextmanager
def creations(model: nn.Module) -> Iterator[list[Creation]]:
    """Follow every registration of a parameter, in whatever module."""
    found: list[Creation] = []
    names = {id(module): name for name, module in model.named_modules()}

    def note(module: nn.Module, name: str, parameter: Any) -> None:
        if isinstance(parameter, nn.Parameter):
            label = f"{type(module).__name__}.{name}"
            found.append(Creation(parameter, label, *_place(names)))

    handle = register_module_parameter_registration_hook(note)
    try:
        yield found
    finally:
        handle.remove()


def _place(names: dict[int, str]) -> tuple[str, str | None]:
    line, site = "", None
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001  the cheapest way to the caller's line
    while frame is not None and site is None:
        file = frame.f_code.co_filename
        if not line and not file.startswith((_TORCH, str(Path(__file__).parent))):
            line = f"{Path(file).name}:{frame.f_lineno}"
        site = names.get(id(frame.f_locals.get("self")))
        frame = frame.f_back
    return line, site
