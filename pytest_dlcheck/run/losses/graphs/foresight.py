"""Whether a model that is to say the next word is shown it: by attention without a causal mask.

Read from the graph of a loss: what attention gave to each place, or the mask that it was given. No
judgement.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

import torch
from torch import Tensor

from pytest_dlcheck.run.losses.graphs.kept import kept
from pytest_dlcheck.run.losses.graphs.next_words import are_words, steps_of
from pytest_dlcheck.run.tensors.graph import Node, inner_first, inputs_of, kind_of, walk

NODES = 20_000
"""Nodes of a graph from which on nothing is told: a part of it would not do."""
_SOFTMAX = ("SoftmaxBackward", "SafeSoftmaxBackward")
_FUSED = "ScaledDotProduct"
_MASKS = ("attn_mask", "attn_bias")
_ON_THE_WAY = (
    *("View", "UnsafeView", "ReshapeAlias", "Expand", "Transpose", "Permute", "Squeeze", "Unsqueeze"),
    *(
        "T",
        "Clone",
        "Alias",
        "ToCopy",
        "Mul",
        "Div",
        "Add",
        "Sub",
        "MaskedFill",
        "Where",
        "Tril",
        "Clamp",
    ),
    *("Neg", "Tanh", "Split", "Slice", "Select", "Index"),
)
"""What may lie between a softmax and the product of queries and keys."""


def foresees(root: Node, inputs: Sequence[Tensor], targets: Sequence[Tensor]) -> bool:
    """Whether places of a sequence attend to the very next one, whose word is their target.

    So it is only where the model is called on words whose successors are the targets, where these words
    are looked up once (who looks them up again may decode them), where the keys are made of them, and
    where no attention over them is masked, as a decoder's is beside that over what it decodes.

    Args:
        root: the node of the loss.
        inputs: what models were called on for it.
        targets: what it has kept.
    """
    for words in filter(are_words, inputs):
        if (axis := steps_of(words, targets)) is not None:
            return _is_shown(root, words, words.shape[axis])
    return False


def is_looked_up(root: Node, words: Tensor) -> bool:
    """Whether a loss is computed from these words, through an embedding of them."""
    return any(_looks_up(node, words) for node in islice(walk([root]), NODES))


def embeds(root: Node) -> bool:
    """Whether a loss is computed from words that an embedding looked up."""
    return any(type(node).__name__.startswith("Embedding") for node in islice(walk([root]), NODES))


def _is_shown(root: Node, words: Tensor, length: int) -> bool:
    order = inner_first([root], NODES)
    if order is None or sum(_looks_up(node, words) for node in order) != 1:
        return False
    made_of_words: set[Node] = set()
    for node in order:
        if _looks_up(node, words) or not made_of_words.isdisjoint(inputs_of(node)):
            made_of_words.add(node)
    shown = [shown for node in order if (shown := _shows(node, made_of_words, length)) is not None]
    return bool(shown) and all(shown)


def _looks_up(node: Node, words: Tensor) -> bool:
    indices = kept(node, "indices") if type(node).__name__.startswith("Embedding") else None
    return indices is not None and _are_equal(indices, words)


def _are_equal(one: Tensor, other: Tensor) -> bool:
    """Whether both hold the same words, one perhaps turned, or without the last."""
    if one.dim() != other.dim() or one.device != other.device:
        return False
    if one.dim() != 2:  # noqa: PLR2004  one word for each sample, at one step
        return torch.equal(one, other)
    for turned in (one, one.t()):
        rows, columns = (min(a, b) for a, b in zip(turned.shape, other.shape, strict=True))
        if max(turned.shape[0] - rows, turned.shape[1] - columns) > 1:
            continue
        if min(rows, columns) > 1 and torch.equal(turned[:rows, :columns], other[:rows, :columns]):
            return True
    return False


def _shows(node: Node, made_of_words: set[Node], length: int) -> bool | None:
    """Whether places attend to the next one here; None where it is no attention over the words."""
    name = type(node).__name__
    if name.startswith(_FUSED):
        return _shows_by_mask(node, made_of_words, length)
    weights = kept(node, "result") if name.startswith(_SOFTMAX) else None
    if weights is None or not _is_square(weights, length) or _keys(node) not in made_of_words:
        return None
    return _reaches_ahead(weights)


def _shows_by_mask(node: Node, made_of_words: set[Node], length: int) -> bool | None:
    query, key = kept(node, "query"), kept(node, "key")
    if query is None or key is None or query.shape[-2] != key.shape[-2]:
        return None
    if query.shape[-2] not in {length, length - 1} or node.next_functions[1][0] not in made_of_words:
        return None
    is_causal = bool(getattr(node, "_saved_is_causal", False))
    bias = next((found for name in _MASKS if (found := kept(node, name)) is not None), None)
    if is_causal or bias is None:
        return not is_causal
    return _reaches_ahead(bias.exp()) if _is_square(bias, length) else None


def _is_square(weights: Tensor, length: int) -> bool:
    shape = weights.shape[-2:]
    return len(shape) == 2 and shape[0] == shape[1] and shape[0] in {length, length - 1}  # noqa: PLR2004


def _reaches_ahead(weights: Tensor) -> bool:
    """Whether most places weigh the next one."""
    ahead = weights.diagonal(offset=1, dim1=-2, dim2=-1) > 0
    return 2 * int(ahead.sum()) > ahead.numel()


def _keys(softmax: Node) -> Node:
    """What made the keys, the second factor of the product that a softmax is taken of, if any."""

    def below(node: Node) -> Iterable[Node]:
        return inputs_of(node) if node is softmax or kind_of(node) in _ON_THE_WAY else ()

    for node in walk([softmax], below):
        if type(node).__name__.startswith(("BmmBackward", "MmBackward", "BaddbmmBackward")):
            return node.next_functions[-1][0]
    return None
