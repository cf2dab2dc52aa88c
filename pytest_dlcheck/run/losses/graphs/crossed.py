"""Outputs ``[n, 1]`` that a loss compares with targets ``[n]``. Read from its graph; no judgement."""

from __future__ import annotations

from torch import Tensor

from pytest_dlcheck.run.losses.graphs.cuts import made
from pytest_dlcheck.run.losses.graphs.near import Near
from pytest_dlcheck.run.tensors.graph import Node

_DIFFERENCE = "SubBackward"


def crossed(near: Near) -> str:
    """Where ``[n, 1]`` is compared with ``[n]``, or with ``[n, n]`` that were broadcast before."""
    nodes = near.nodes if near.named(_DIFFERENCE) else near.targets
    return next(filter(None, (_crossed(node, near.targets.get(node)) for node in nodes)), "")


def _crossed(node: Node, target: Tensor | None) -> str:
    name, edges = type(node).__name__, node.next_functions
    if name.startswith(_DIFFERENCE):
        operands = [made(following, index) for following, index in edges if following is not None]
        whole = made(node, 0)
        if len(operands) != 1 or not is_crossed(operands[0], whole):
            return ""
        return f"{operands[0]} against [{whole[0]}] makes {whole}"
    if target is None or not edges or type(edges[0][0]).__name__ != "ExpandBackward0":
        return ""
    behind, index = edges[0][0].next_functions[0]
    given, whole = [] if behind is None else made(behind, index), list(target.shape)
    axis = _crossing_axis(given, whole)
    if axis is not None and is_crossed(given, whole) and all(target.stride()):
        return f"{given} against {whole}"
    if axis is None or target.stride()[0] or not target.stride()[axis]:
        return ""
    return f"{given} against {whole[axis:]} makes {whole}"


def is_crossed(given: list[int], whole: list[int]) -> bool:
    """Whether what is ``[n, 1]`` was broadcast to ``[n, n]``, by their shapes."""
    return len(whole) == 2 and whole[0] == whole[1] > 1 and given == [whole[0], 1]  # noqa: PLR2004  a matrix


def _crossing_axis(given: list[int], whole: list[int]) -> int | None:
    """The only axis along which outputs were repeated, as often as there are samples."""
    if len(given) != len(whole) or not whole:
        return None
    axes = [axis for axis, (a, b) in enumerate(zip(given, whole, strict=True)) if a != b]
    samples = whole[0] > 1 and len(axes) == 1 and whole[axes[0]] == whole[0] and given[axes[0]] == 1
    return axes[0] if samples else None
