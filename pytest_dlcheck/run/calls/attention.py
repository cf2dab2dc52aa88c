"""How sure of one place attention is, by the weights that it gives; in a pass with gradients on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.tensors.graph import Node

ATTENTIONS = frozenset({"softmax", "scaled_dot_product_attention"})
_SURE = 0.99
"""Share of one place from which on a row of weights has no slope to speak of."""
_VISIBLE = 3
"""Places that a row must see."""
_HIDDEN = -9_000.0
"""Scores up to which a place is masked: -1e4, -1e9 and -inf are in use."""
_SAMPLES, _QUERIES = 4, 64
_FEWEST = 32
"""Rows below which nothing is concluded."""
_BETWEEN = frozenset(
    {"Div", "Mul", "Add", "Sub", "MaskedFill", "Where", "View", "UnsafeView", "Reshape", "Clone"}
    | {"Permute", "Transpose", "Expand", "ToCopy", "Slice", "Select", "Unsqueeze", "Squeeze"}
)
"""What happens to scores between the product of queries and keys and the softmax."""
_DEEPEST = 12


def sure_rows(name: str, call: tuple[tuple[Any, ...], dict[str, Any]]) -> float | None:
    """The share of rows that give nearly all of their weight to one place; None where unknown.

    Only of weights that come from products of activations, as of queries and keys: gates, mixtures and
    look-ups in a table of parameters may be as sure as they like.

    Args:
        name: the function of torch.
        call: its arguments, positional and by name.
    """
    try:
        scores = _scores(*call) if name == "softmax" else _fused(*call)
    except (RuntimeError, IndexError):  # of a nested tensor, or of shapes that only the kernel knows
        return None
    if scores is None:
        return None
    visible = scores > _HIDDEN
    rows = visible.sum(-1) >= _VISIBLE
    if int(rows.sum()) < _FEWEST:
        return None
    best = scores.masked_fill(~visible, -torch.inf)[rows].softmax(-1).amax(-1)
    return float((best > _SURE).float().mean())


def _scores(args: tuple[Any, ...], options: dict[str, Any]) -> Tensor | None:
    scores = args[0] if args else options.get("input")
    axis = args[1] if len(args) > 1 else options.get("dim")
    if not isinstance(scores, Tensor) or not isinstance(axis, int) or not scores.is_floating_point():
        return None
    if scores.dim() <= 2 or not _is_product(scores.grad_fn):  # noqa: PLR2004
        return None
    return scores.detach().movedim(axis, -1)[:_SAMPLES].float()


def _is_product(node: Node | None) -> bool:
    """Whether a product of matrices that are both computed is all that lies behind it."""
    for _ in range(_DEEPEST):
        if node is None:
            return False
        name = node.name().lstrip("_").partition("Backward")[0]
        below = [child for child, _ in node.next_functions]
        if name == "Bmm":
            return len(below) > 1 and all(b is not None and not hasattr(b, "variable") for b in below)
        if name not in _BETWEEN:
            return False
        node = next((b for b in below if b is not None and not hasattr(b, "variable")), None)
    return False


def _fused(args: tuple[Any, ...], options: dict[str, Any]) -> Tensor | None:
    names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
    given = {**dict(zip(names, args, strict=False)), **options}
    query, key, mask = (given.get(part) for part in ("query", "key", "attn_mask"))
    if not isinstance(query, Tensor) or not isinstance(key, Tensor) or query.grad_fn is None:
        return None
    if query.dim() <= 2 or query.shape[:-2] != key.shape[:-2]:  # noqa: PLR2004
        return None
    scale = given.get("scale")
    scale = query.size(-1) ** -0.5 if scale is None else scale
    places = torch.linspace(0, query.size(-2) - 1, min(_QUERIES, query.size(-2))).long()
    some = query.detach()[:_SAMPLES, ..., places.to(query.device), :].float()
    scores: Tensor = some @ key.detach()[:_SAMPLES].float().transpose(-2, -1) * scale
    if isinstance(mask, Tensor):
        full = mask.detach().expand(*query.shape[:-1], key.size(-2))
        full = full[:_SAMPLES, ..., places.to(mask.device), :]
        scores = scores.masked_fill(~full, -torch.inf) if full.dtype == torch.bool else scores + full
    if given.get("is_causal"):
        later = torch.arange(key.size(-2)) > places[:, None]
        scores = scores.masked_fill(later.to(scores.device), -torch.inf)
    return scores
