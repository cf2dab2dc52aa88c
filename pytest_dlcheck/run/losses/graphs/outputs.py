"""What models have made, known where the graphs of their losses are read."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.losses.graphs.kept import kept
from pytest_dlcheck.run.tensors.graph import Node, edges_of, kind_of

LARGEST = 1 << 22
"""Bytes behind an output up to which it is kept until its loss is propagated."""
RESHAPES = frozenset(
    {"View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "ToCopy", "Alias", "Clone"}
)
"""What only gives another shape, or copies."""
_SAVING = frozenset({"Sigmoid", "Tanh", "Exp", "Softmax", "Relu", "LogSoftmax"})
"""What keeps its own result."""


class _Made:
    """The key under which a node carries what it has made."""


def made_here(output: Tensor) -> None:
    """Let what a model has made be known where its graph is read."""
    node: Any = output.grad_fn
    if node is None or output.is_nested or output.layout != torch.strided:
        return
    is_only = len(getattr(node, "_input_metadata", ())) == 1  # not one of the parts of a split
    if is_only and output.untyped_storage().nbytes() <= LARGEST:
        node.metadata[_Made] = output.detach(), output._version  # noqa: SLF001  public only by name


def result_of(node: Node) -> Tensor | None:
    """What a node has made, perhaps in another shape before; None where nobody has kept it."""
    inner = plain(node)
    if inner is None:
        return None
    found = inner.metadata.get(_Made)
    if found is not None:
        output, version = found
        return output if output._version == version else None  # noqa: SLF001  as above
    return kept(inner, "result") if kind_of(inner) in _SAVING else None


def plain(node: Node) -> Node:
    """The node without what only gives another shape to what it makes."""
    while kind_of(node) in RESHAPES and edges_of(node) == [0]:
        if node.metadata.get(_Made) is not None:
            break
        node = node.next_functions[0][0]
    return node
