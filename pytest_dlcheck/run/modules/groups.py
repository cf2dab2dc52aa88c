"""How many values a normalisation takes together. Nothing is measured."""

from __future__ import annotations

from math import prod
from typing import Any


def values_together(name: str, call: tuple[tuple[Any, ...], dict[str, Any]]) -> int | None:
    """The values of one mean and variance; None where these are not taken within a sample.

    Args:
        name: the function of torch.
        call: its arguments, positional and by name.
    """
    args, options = call
    given = args[0] if args else options.get("input")
    if name == "group_norm" and given is not None and given.dim() > 1:
        groups = args[1] if len(args) > 1 else options["num_groups"]
        return int(prod(given.shape[1:])) // int(groups)
    if name == "layer_norm":
        return int(prod(args[1] if len(args) > 1 else options["normalized_shape"]))
    return None
