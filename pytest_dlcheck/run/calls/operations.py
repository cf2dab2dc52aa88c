"""Every torch operation of a call, with its line of the user's code, to find a fault's place."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pytest_dlcheck.run.calls.witness import Agrees
from pytest_dlcheck.run.tensors.tree import tensors

_NOT_THEIRS = (str(Path(torch.__file__).resolve().parent), str(Path(__file__).resolve().parents[2]))


@dataclass(frozen=True)
class Operation:
    """One torch function or method, as it was called.

    Attributes:
        name: its name: ``softmax``, ``view``, ``rand_like``.
        module: the dotted name of the innermost module in whose forward it ran.
        line: ``file.py:42``, outside of torch; empty where there is none.
        inputs: copies of its tensor arguments.
        outputs: copies of the tensors that it gave.
        options: its keyword arguments.
        trained: which of its inputs depend on what requires a gradient.
    """

    name: str
    module: str
    line: str
    inputs: list[Tensor]
    outputs: list[Tensor]
    options: Mapping[str, Any]
    trained: tuple[bool, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} ({self.line})" if self.line else self.name


def operations(model: nn.Module, call: Callable[[], object]) -> list[Operation]:
    """Every operation that gives a tensor, in order."""
    recorder = _Recorder()
    handles = []

    def leave(*_: Any) -> None:
        recorder.modules.pop()

    for name, module in model.named_modules():

        def enter(_: nn.Module, __: tuple[Any, ...], name: str = name) -> None:
            recorder.modules.append(name)

        handles.append(module.register_forward_pre_hook(enter))
        handles.append(module.register_forward_hook(leave))
    try:
        with recorder:
            call()
    finally:
        for handle in handles:
            handle.remove()
    return recorder.found


def mixing(
    before: Iterable[Operation], after: Iterable[Operation], agrees: Agrees, module: str | None = None
) -> Iterator[Operation]:
    """The operations whose inputs agree between two calls and whose outputs do not, in order.

    Args:
        before: the operations of the first call; told as far as both calls do the same.
        after: those of the second.
        agrees: told a tensor of the first call and its like of the second.
        module: look only at operations that ran directly in this module.
    """
    for a, b in zip(before, after, strict=False):
        if (a.name, a.line, len(a.inputs)) != (b.name, b.line, len(b.inputs)):
            return
        if (module is None or a.module == module) and mixes(a, b, agrees):
            yield a


def mixes(one: Operation, other: Operation, agrees: Agrees) -> bool:
    """Whether its inputs agree between two calls and its outputs do not."""
    given = zip(one.inputs, other.inputs, strict=True)
    gave = zip(one.outputs, other.outputs, strict=False)
    return all(agrees(x, y) is True for x, y in given) and not all(agrees(x, y) is True for x, y in gave)


class _Recorder(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Operation] = []
        self.modules: list[str] = [""]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        options = kwargs or {}
        given = tensors((args, options))
        trained = tuple(t.requires_grad for t in given)
        inputs = [tensor.detach().clone() for tensor in given]
        result = func(*args, **options)
        outputs = _copies(args[0] if func is Tensor.__setitem__ else result)
        if outputs:
            name = getattr(func, "__name__", type(func).__name__)
            line = _line(sys._getframe(1))  # noqa: SLF001  the cheapest way to the caller's line
            place = (name, self.modules[-1], line)
            self.found.append(Operation(*place, inputs, outputs, dict(options), trained))
        return result


def line_of_caller() -> str:
    """The line of the user's code from which a torch function mode was asked."""
    return _line(sys._getframe(2))  # noqa: SLF001  the cheapest way to the caller's line


def _line(frame: FrameType | None) -> str:
    while frame is not None:
        if not frame.f_code.co_filename.startswith(_NOT_THEIRS):
            return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def _copies(tree: Any) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in tensors(tree)]
