"""Nested tensors: tuples, lists, dicts, dataclasses, walked and mapped. No model is called here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

_PLAIN = frozenset({type(None), bool, int, float, str})
"""Types that hold no tensor, told at once."""


def map_tensors(tree: Any, change: Callable[[Tensor], Tensor]) -> Any:  # noqa: PLR0911  a case each
    """The same nest with every tensor changed; what is no tensor stays as it is."""
    if isinstance(tree, Tensor):
        return change(tree)
    if type(tree) in _PLAIN:
        return tree
    if isinstance(tree, (list, tuple)):
        parts = [map_tensors(v, change) for v in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    if isinstance(tree, Mapping):
        return _rebuilt_mapping(tree, {k: map_tensors(v, change) for k, v in tree.items()})
    if is_dataclass(tree) and not isinstance(tree, type):
        named = {f.name: map_tensors(getattr(tree, f.name), change) for f in fields(tree) if f.init}
        return replace(tree, **named)
    if isinstance(tree, SimpleNamespace):
        return SimpleNamespace(**{k: map_tensors(v, change) for k, v in vars(tree).items()})
    return tree


def named_tensors(tree: Any, root: str) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a nest with its place: ``output``, ``output[1]``, ``output.logits``."""
    if isinstance(tree, Tensor):
        yield root, tree
    elif isinstance(tree, (list, tuple)):  # before what takes longer to tell
        for index, value in enumerate(tree):
            yield from named_tensors(value, f"{root}[{index}]")
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from named_tensors(value, f"{root}.{key}")
    elif is_dataclass(tree) and not isinstance(tree, type):
        for f in fields(tree):
            yield from named_tensors(getattr(tree, f.name), f"{root}.{f.name}")
    elif isinstance(tree, SimpleNamespace):
        yield from named_tensors(vars(tree), root)


def tensors(tree: Any) -> list[Tensor]:
    """Every tensor of a nest."""
    found: list[Tensor] = []
    _gather((tree,), found)
    return found


def _gather(parts: Iterable[Any], found: list[Tensor]) -> None:
    """As :func:`named_tensors` without the names: asked for every function that a model calls."""
    for tree in parts:
        if isinstance(tree, Tensor):
            found.append(tree)
        elif type(tree) in _PLAIN:
            continue
        elif isinstance(tree, (list, tuple)):
            _gather(tree, found)
        elif isinstance(tree, Mapping):
            _gather(tree.values(), found)
        else:
            found += (tensor for _, tensor in named_tensors(tree, ""))


def first_tensor(tree: Any) -> Tensor | None:
    """The first tensor of a nest; None where there is none."""
    if isinstance(tree, (list, tuple)) and tree and isinstance(tree[0], Tensor):
        return tree[0]
    return next((tensor for _, tensor in named_tensors(tree, "")), None)


def to_device(tree: Any, device: torch.device) -> Any:
    """The nest with every tensor on the device, copied without blocking where it can be."""
    return map_tensors(tree, lambda t: t if t.device == device else t.to(device, non_blocking=True))


def copied(tree: Any) -> Any:
    """The nest anew, containers and tensors, so that whoever gets it may change it."""
    return map_tensors(tree, Tensor.clone)


def detached(tree: Any) -> Any:
    """The nest cut from the graph, sharing memory."""
    return map_tensors(tree, Tensor.detach)


def batch_size(tree: Any, dim: int) -> int | None:
    """The number of samples: the size along ``dim`` of the first tensor that has one.

    None where none has, or where samples of all lengths lie end to end (words beside their offsets,
    nodes beside their graphs): they cannot be taken out one by one.
    """
    found = [tensor for tensor in tensors(tree) if tensor.dim() > dim]
    if not found or _end_to_end(found, dim):
        return None
    return found[0].size(dim)


def _end_to_end(found: list[Tensor], dim: int) -> bool:
    """Whether lengths differ as those of samples strung together do, not as a table's or a mask's."""
    first = found[0]
    size, strung = first.size(dim), _is_flat(first, dim) and is_whole(first)
    odd = [t for t in found if t.size(dim) != size]
    if not odd:
        return False
    along = {length for t in found for axis, length in enumerate(t.shape) if axis != dim}
    return any(
        (_is_flat(t, dim) and (strung or is_whole(t))) or (strung and t.size(dim) < size)
        for t in odd
        if t.size(dim) not in along
    )


def _is_flat(tensor: Tensor, dim: int) -> bool:
    return tensor.dim() == dim + 1


def is_whole(tensor: Tensor) -> bool:
    """Whether its numbers are places, ids or lengths."""
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)


def take(tree: Any, samples: Tensor, dim: int) -> Any:
    """The nest with only those samples: tensors as long as the batch along ``dim`` are indexed.

    Args:
        tree: a batch or a part of one.
        samples: indices of samples, int64 of shape ``[k]``, on any device; may repeat.
        dim: the axis of samples.
    """
    size = batch_size(tree, dim)

    def pick(tensor: Tensor) -> Tensor:
        if tensor.dim() <= dim or tensor.size(dim) != size:
            return tensor
        return tensor.index_select(dim, samples.to(tensor.device))

    return map_tensors(tree, pick)


def shape_text(tree: Any) -> str:
    """The nest's shapes and dtypes in words, for messages: ``(64, 1, 8, 8) float32``."""
    parts = [
        f"{name or 'tensor'} {tuple(t.shape)} {str(t.dtype).removeprefix('torch.')}"
        for name, t in named_tensors(tree, "")
    ]
    return ", ".join(part.strip() for part in parts) if parts else f"a {type(tree).__name__}"


def _rebuilt_mapping(old: Mapping[Any, Any], new: dict[Any, Any]) -> Any:
    if type(old) is dict:
        return new
    build: Callable[..., Any] = type(old)
    try:
        return build(**new) if hasattr(old, "__dataclass_fields__") else build(new)
    except TypeError:
        return new


def storage_of(tensor: Tensor) -> int:
    """Where its numbers lie, which it shares with its views; 0 where it has none, as sparse ones."""
    try:
        return tensor.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):
        return 0


def is_plain(tensor: Tensor) -> bool:
    """Whether its numbers can be looked at as they lie: neither sparse nor nested nor quantised."""
    return tensor.layout == torch.strided and not tensor.is_nested and not tensor.is_quantized
