"""What enters and leaves every module during a call, in the order it happens. Nothing is judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from torch import Tensor, nn

from pytest_dlcheck.run.tensors.tree import tensors

T = TypeVar("T")
MOST = 20_000
"""Crossings kept: a recurrent cell is called once a time step."""


@dataclass(frozen=True)
class Crossing(Generic[T]):
    """Tensors that enter or leave one module.

    Attributes:
        site: the module's dotted name; empty for the model itself.
        entering: whether they are its inputs; otherwise its outputs.
        seen: what was read of them.
    """

    site: str
    entering: bool
    seen: T


@contextmanager
def crossings(model: nn.Module, read: Callable[[list[Tensor]], T]) -> Iterator[list[Crossing[T]]]:
    """Follow every call of every module, in the order in which values enter and leave.

    Args:
        model: the root; its submodules are followed too.
        read: what to keep of the tensors that cross.
    """
    found: list[Crossing[T]] = []

    def note(site: str, tree: Any, *, entering: bool) -> None:
        if len(found) < MOST:
            found.append(Crossing(site, entering, read(tensors(tree))))

    def hooks(site: str) -> tuple[Callable[..., None], Callable[..., None]]:
        def enter(_module: nn.Module, args: Any, kwargs: Any) -> None:
            note(site, (args, kwargs), entering=True)

        def leave(_module: nn.Module, _args: Any, output: Any) -> None:
            note(site, output, entering=False)

        return enter, leave

    handles = []
    for site, module in model.named_modules():
        enter, leave = hooks(site)
        handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
        handles.append(module.register_forward_hook(leave))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True, slots=True)
class Origin:
    """Where something first went wrong.

    Attributes:
        site: the dotted name of the module to look at; empty for the model's own ``forward``.
        where: the place in words, for a sentence that ends with it.
    """

    site: str
    where: str


def origin(model: nn.Module, path: Sequence[Crossing[Any]], index: int) -> Origin:
    """The code between the crossing before and this one, at which something went wrong.

    A value that leaves a module changed inside that module's ``forward``; one that enters changed
    in the ``forward`` around it, on its way from the module before.
    """
    crossing = path[index]
    if not crossing.entering:
        kind = type(model.get_submodule(crossing.site)).__name__
        return Origin(crossing.site, f"in {kind}.forward{_of(crossing.site)}")
    around = crossing.site.rpartition(".")[0]
    if isinstance(model.get_submodule(around), (nn.Sequential, nn.ModuleList, nn.ModuleDict)):
        around = around.rpartition(".")[0]
    kind = type(model.get_submodule(around)).__name__
    before = next((c.site for c in reversed(path[:index]) if not c.entering and c.site), "")
    span = f"between `{before}` and `{crossing.site}`" if before else f"before `{crossing.site}`"
    return Origin(crossing.site, f"in {kind}.forward{_of(around)}, {span}")


def _of(site: str) -> str:
    return f" of `{site}`" if site else ""
