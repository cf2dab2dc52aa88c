"""Hears whether a head's outputs and a target ever meet in an operation. Nothing is judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from pytest_dlcheck.run.tensors.tree import storage_of, tensors


class Meetings(TorchFunctionMode):
    """Follows what operations make of some tensors, and of others, until both enter one.

    Args:
        given: what a head gives, by name; more may come while this listens.
        targets: by name.

    Attributes:
        met: names of the targets that met what the head gave, or anything made of it.
    """

    def __init__(self, given: Mapping[str, Any], targets: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.met: set[str] = set()
        self._given, self._heard = given, 0
        self._kept: list[Tensor] = []
        self._of: dict[int, frozenset[str]] = {}
        for name, target in targets.items():
            self._label([target], frozenset({name}))

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call it, and note who is made of whom."""
        for given in list(self._given.values())[self._heard :]:
            self._label(tensors(given), frozenset({_HEAD}))
        self._heard = len(self._given)
        result = func(*args, **(kwargs or {}))
        asked = tensors((args, kwargs or {}))
        known = [self._of.get(_place(tensor), frozenset()) for tensor in asked]
        if labels := frozenset[str]().union(*known):
            self.met |= labels - {_HEAD} if _HEAD in labels else set()
            self._label(tensors(result), labels)
        return result

    def _label(self, found: Iterable[Tensor], labels: frozenset[str]) -> None:
        for tensor in found:
            self._kept.append(tensor)  # so that nothing else comes to lie where it lies
            self._of[_place(tensor)] = self._of.get(_place(tensor), frozenset()) | labels


_HEAD = ""


def _place(tensor: Tensor) -> int:
    return storage_of(tensor) or id(tensor)
