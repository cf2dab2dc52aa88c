"""What each module took and gave during a call, to find the first one at fault. Judges nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from pytest_dlcheck.run.tensors.tree import tensors

Agrees = Callable[[Tensor, Tensor], bool | None]
"""Whether two tensors agree where they must; None where the tensors do not say."""


@dataclass(frozen=True)
class ModuleCall:
    """One call of one module.

    Attributes:
        name: the module's dotted name; empty for the root.
        module: the module.
        inputs: copies of its input tensors.
        outputs: copies of its output tensors.
    """

    name: str
    module: nn.Module
    inputs: list[Tensor]
    outputs: list[Tensor]


def witnessed(model: nn.Module, call: Callable[[], object]) -> list[ModuleCall]:
    """Every module call, innermost first, in the order in which they returned."""
    calls: list[ModuleCall] = []
    open_calls: list[list[Tensor]] = []
    handles = []

    def enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        open_calls.append(_copies((args, kwargs)))

    for name, module in model.named_modules():

        def leave(module: nn.Module, _: tuple[Any, ...], outputs: Any, name: str = name) -> None:
            calls.append(ModuleCall(name, module, open_calls.pop(), _copies(outputs)))

        handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
        handles.append(module.register_forward_hook(leave))
    try:
        call()
    finally:
        for handle in handles:
            handle.remove()
    return calls


def culprit(
    model: nn.Module, calls: Iterable[Callable[[], object]], agrees: Agrees
) -> ModuleCall | None:
    """The first module whose outputs disagree between two calls although its inputs agree.

    Args:
        model: the module that is called.
        calls: the two calls.
        agrees: told a tensor of the first call and its like of the second.

    Returns:
        Its first call; None where no module can be held responsible.
    """
    try:
        before, after = (witnessed(model, call) for call in calls)
    except Exception:  # noqa: BLE001  some modules refuse hooks; then the place is not known
        return None
    if [call.name for call in before] != [call.name for call in after]:
        return None
    return next((a for a, b in zip(before, after, strict=True) if _guilty(a, b, agrees)), None)


def _guilty(a: ModuleCall, b: ModuleCall, agrees: Agrees) -> bool:
    if len(a.inputs) != len(b.inputs) or len(a.outputs) != len(b.outputs):
        return False
    innocent = all(agrees(x, y) is True for x, y in zip(a.inputs, b.inputs, strict=True))
    return innocent and any(agrees(x, y) is False for x, y in zip(a.outputs, b.outputs, strict=True))


def _copies(tree: Any) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in tensors(tree)]
