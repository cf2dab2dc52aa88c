"""The autograd graph of a tensor, walked to its leaves. Nothing is propagated."""

from __future__ import annotations

from torch import Tensor


def leaves(tensor: Tensor) -> list[Tensor]:
    """Every tensor in which the backward pass of this one would accumulate a gradient."""
    if tensor.grad_fn is None:
        return [tensor] if tensor.requires_grad else []
    found: dict[int, Tensor] = {}
    seen = {tensor.grad_fn}
    open_nodes = [tensor.grad_fn]
    while open_nodes:
        node = open_nodes.pop()
        variable = getattr(node, "variable", None)
        if isinstance(variable, Tensor):
            found[id(variable)] = variable
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                open_nodes.append(following)
    return list(found.values())
