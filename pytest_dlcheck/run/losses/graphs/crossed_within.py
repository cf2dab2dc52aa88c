"""Numbers ``[n, 1]`` and ``[n]`` of the same samples that a model adds up to ``[n, n]``. No judgement.

Read from the graph of a loss. Whoever means each beside each says so: by ``unsqueeze``, a transpose or
``keepdim``, and takes maxima, shares or products of what comes out. So this is told only where what is
``[n, 1]`` comes from a layer as it is, and the loss makes one mean of the whole.
"""

from __future__ import annotations

from pytest_dlcheck.run.losses.graphs.cuts import made, on_the_way
from pytest_dlcheck.run.losses.graphs.near import Near
from pytest_dlcheck.run.tensors.graph import Node, kind_named

SIGNS = {"Add": "+", "Sub": "-", "Mul": "*", "Div": "/"}
"""What puts two tensors together, number by number."""
LAYERS = frozenset({"Addmm", "Embedding"})
"""What a linear layer and a table make; and what may lie behind them, number by number:"""
ACTIVATIONS = frozenset(
    {
        *("Sigmoid", "Tanh", "Relu", "Softplus", "Exp", "Dropout", "NativeDropout"),
        *("LogSigmoid", "Log", "Clamp", "ClampMin", "Neg", "Rsub"),
    }
)
MEANT = frozenset(
    {
        *("Softmax", "LogSoftmax", "Logsumexp", "NllLoss", "Mm", "Bmm", "Amax", "Max", "Min", "Amin"),
        *("MaskedFill", "Where", "MaskedSelect", "Index", "Gather", "Triu", "Tril", "Diagonal"),
        *("MarginRankingLoss", "Unsqueeze", "T", "Transpose", "Sort", "Topk"),
    }
)
"""What is done with a table of each beside each on its way to the loss."""
_MATRIX = 2
_DEEPEST = 4


def crossed_within(near: Near) -> str:
    """What is put together, ``"[64] + [64, 1] makes [64, 64]"``; empty where there is none.

    Args:
        near: nodes of a loss's graph.
    """
    for node in near.of(SIGNS.keys()):
        whole = made(node)
        if len(whole) != _MATRIX or whole[0] != whole[1] or whole[0] < _MATRIX:
            continue
        if _is_of_samples(node, whole[0]) and not (is_meant(near, node) or _is_wanted(near, whole)):
            sign = SIGNS[kind_named(type(node).__name__)]
            told = f" {sign} ".join(str(made(each, index)) for each, index in node.next_functions)
            return f"{told} makes {whole}"
    return ""


def _is_wanted(near: Near, whole: list[int]) -> bool:
    """Whether targets are as many numbers, as of all pairs: such as were not made so by broadcasting."""
    return any(list(each.shape) == whole and 0 not in each.stride() for each in near.targets.values())


def _is_of_samples(node: Node, samples: int) -> bool:
    """Whether one operand is ``[n]``, and the other ``[n, 1]`` as a layer gives it."""
    operands = [(each, index) for each, index in node.next_functions if each is not None]
    columns = [each for each, index in operands if made(each, index) == [samples, 1]]
    flat = [each for each, index in operands if made(each, index) == [samples]]
    if len(columns) != 1 or len(flat) != 1:
        return False
    return is_of_a_layer(columns[0]) and not _is_same(flat[0], columns[0])


def is_of_a_layer(node: Node) -> bool:
    """Whether it gives what a layer makes, changed number by number at most."""
    for _ in range(_DEEPEST):
        kind = kind_named(type(node).__name__)
        if kind in LAYERS:
            return True
        if kind not in ACTIVATIONS or not node.next_functions:
            return False
        node = node.next_functions[0][0]
    return False


def _is_same(flat: Node, column: Node) -> bool:
    """Whether the one is the other without its last axis."""
    for _ in range(_DEEPEST):
        if flat is column:
            return True
        flat = flat.next_functions[0][0] if flat is not None and flat.next_functions else None
    return False


def is_meant(near: Near, node: Node) -> bool:
    """Whether something on the way to the loss says that each is to stand beside each."""
    kinds = {kind_named(type(each).__name__) for each in on_the_way(near.nodes, node)}
    return not MEANT.isdisjoint(kinds)
