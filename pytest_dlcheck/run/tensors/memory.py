"""Memory that several tensors share: who does, and how it is filled again without taking them apart."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def refilled(memory: Tensor, values: Tensor) -> Tensor:
    """The memory with these numbers, or a copy of them where it cannot take them.

    Weights may be tied by their memory alone, and recurrent layers cut theirs from one piece: a new
    tensor for each would take them apart.

    Args:
        memory: what lay behind a parameter or buffer (its ``data``), of any shape.
        values: of the same shape, of any dtype and device.
    """
    plain = memory.layout == values.layout == torch.strided and not memory.is_inference()
    if plain and memory.shape == values.shape and 0 not in memory.stride():
        return memory.copy_(values)
    return values.to(memory, copy=True)


def twins_of(named: Mapping[str, Tensor]) -> dict[str, str]:
    """Parameters that lie in the memory of another one, by name, and the first that lies there.

    Views of one flat piece, as recurrent layers and sharded models have them, begin at places of their
    own; what a sharded model has given back lies nowhere.
    """
    first: dict[tuple[object, ...], str] = {}
    found = {}
    for name, p in named.items():
        if nn.parameter.is_lazy(p) or p.layout != torch.strided or p.is_meta or not p.numel():
            continue
        place = (p.device, p.data_ptr(), p.numel())
        if p.data_ptr() and (other := first.setdefault(place, name)) != name:
            found[name] = other
    return found
