"""What a data set keeps in memory, and whether reading a sample edits it. Puts it back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

_DEEPEST = 4
_ELEMENTS = 32
"""Elements looked at of a list, tuple or dict, beside the one that is read."""
_LARGEST = 1 << 26
"""Bytes of a tensor or array beyond which it is not copied."""


def edited(dataset: Any, index: int, read: Callable[[], Hashable]) -> list[str]:
    """What reading a sample edits, so that the next reading gives another sample.

    It is restored and read again: only where that gives what it gave before, the edit is the reason.

    Args:
        dataset: the data set.
        index: the sample that is read.
        read: reads it, and gives a print of it.

    Returns:
        Where it is kept, for example ``dataset.images``; empty where nothing is edited.
    """
    before = {name: (part, _copy(part)) for name, part in _held(dataset, index)}
    first = read()
    changed = {name: pair for name, pair in before.items() if not _equal(*pair)}
    if not changed:
        return []
    second = read()
    _restore(changed)
    again = read()
    _restore(changed)
    return list(changed) if first == again and first != second else []


def _restore(parts: dict[str, tuple[Any, Any]]) -> None:
    for part, copy in parts.values():
        with torch.no_grad():
            part[...] = copy


def _held(dataset: Any, index: int) -> Iterator[tuple[str, Any]]:
    seen: set[int] = set()
    waiting: list[tuple[str, Any, int]] = [("dataset", dataset, 0)]
    while waiting:
        name, node, depth = waiting.pop(0)
        if id(node) in seen:
            continue
        seen.add(id(node))
        if _is_array(node):
            if 0 < node.nbytes <= _LARGEST:
                yield name, node
        elif depth < _DEEPEST:
            waiting += [(f"{name}{step}", part, depth + 1) for step, part in _parts(node, index)]


def _parts(node: Any, index: int) -> Iterator[tuple[str, Any]]:
    if isinstance(node, (list, tuple)):
        chosen = {*range(min(_ELEMENTS, len(node))), *([index] if index < len(node) else [])}
        yield from ((f"[{i}]", node[i]) for i in sorted(chosen))
    elif isinstance(node, dict):
        yield from ((f"[{key!r}]", node[key]) for key in list(node)[:_ELEMENTS])
    elif not isinstance(node, (nn.Module, type, str, bytes)) and not callable(node):
        yield from ((f".{name}", part) for name, part in getattr(node, "__dict__", {}).items())


def _is_array(node: Any) -> bool:
    if isinstance(node, Tensor):
        return node.layout == torch.strided and not node.requires_grad
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(node, numpy.ndarray) and node.dtype.kind in "biuf"


def _copy(part: Any) -> Any:
    return part.clone() if isinstance(part, Tensor) else part.copy()


def _equal(part: Any, copy: Any) -> bool:
    if isinstance(part, Tensor):
        return torch.equal(part.nan_to_num(), copy.nan_to_num())
    return bool(part.tobytes() == copy.tobytes())
