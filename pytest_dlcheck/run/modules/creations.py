"""Parameters that come into being while a call runs: in which module's forward, on which line."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from pytest_dlcheck.run.code.frames import variables

MOST = 4096
"""Parameters that are told of: a model that is built meanwhile has hundreds."""
Hook: TypeAlias = Callable[[nn.Module, str, Any], None]
Guard: TypeAlias = Callable[[Hook], Hook]

_TORCH = str(Path(torch.__file__).resolve().parent)


def _unguarded(hook: Hook) -> Hook:
    return hook


@dataclass(frozen=True)
class Creation:
    """One parameter, as it was registered.

    Attributes:
        parameter: it, as long as it lives.
        name: ``Linear.weight``.
        line: ``file.py:42`` in the user's code; empty where there is none.
        site: the dotted name of the model's module in whose code it happened; None outside of any.
    """

    parameter: weakref.ref[nn.Parameter]
    name: str
    line: str
    site: str | None

    def told(self) -> str:
        """In words."""
        return f"made anew in every forward: {self.name}{f' ({self.line})' if self.line else ''}"


class Creations:
    """Follows every registration of a parameter, in whatever module, until it is closed.

    Args:
        models: whose modules are told as sites.
        guard: stands before what torch calls.

    Attributes:
        found: the parameters, in the order in which they were registered.
    """

    def __init__(self, models: Sequence[nn.Module], guard: Guard = _unguarded) -> None:
        self.found: list[Creation] = []
        self._names = {id(module): name for m in models for name, module in m.named_modules()}
        self._handle = register_module_parameter_registration_hook(guard(self._note))

    def close(self) -> None:
        """Follow no more."""
        self._handle.remove()

    def _note(self, module: nn.Module, name: str, parameter: Any) -> None:
        if isinstance(parameter, nn.Parameter):
            label = f"{type(module).__name__}.{name}"
            if len(self.found) < MOST:
                self.found.append(Creation(weakref.ref(parameter), label, *_place(self._names)))


@contextmanager
def creations(model: nn.Module) -> Iterator[list[Creation]]:
    """Follow every registration while this lasts."""
    following = Creations([model])
    try:
        yield following.found
    finally:
        following.close()


def _place(names: dict[int, str]) -> tuple[str, str | None]:
    line, site = "", None
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001  the cheapest way to the caller's line
    while frame is not None and site is None:
        file = frame.f_code.co_filename
        if not line and not file.startswith((_TORCH, str(Path(__file__).parents[1]))):
            line = f"{Path(file).name}:{frame.f_lineno}"
        site = names.get(id(variables(frame).get("self")))
        frame = frame.f_back
    return line, site
