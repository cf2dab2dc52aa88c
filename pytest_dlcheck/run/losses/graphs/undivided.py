"""Whether a loss is a plain mean of what it compares, or something scales it. No judgement."""

from __future__ import annotations

import math

from pytest_dlcheck.run.losses.graphs.kept import MEAN, constant_of, kept
from pytest_dlcheck.run.losses.graphs.near import Near
from pytest_dlcheck.run.tensors.graph import Node, inputs_of, kind_of

_PLAIN = frozenset({"View", "ToCopy", "Neg"})
_FACTORS = frozenset({"Mul", "Div"})
_OF_FORMULAS = (0.5, 1.0, 2.0)
"""Factors that squares and logarithms bring along."""


def undivided(near: Near) -> bool | None:
    """Whether the loss is a plain mean: nothing but the loss's own node, and that averages.

    Args:
        near: the nodes next to the loss.
    """
    node = near.root
    while kind_of(node) in _PLAIN or _is_by_one(node):
        node = inputs_of(node)[0]
    if kind_of(node) in _FACTORS:
        return False
    if node not in near.targets:
        return True if kind_of(node) == "Mean" and not any(map(_scales, near.of(_FACTORS))) else None
    return bool(getattr(node, "_saved_reduction", None) == MEAN)


def divided_by(near: Near) -> str:
    """By which whole number the loss is divided last of all; empty where it is not, or by none.

    Args:
        near: the nodes next to the loss.
    """
    node = near.root
    while kind_of(node) in _PLAIN:
        node = inputs_of(node)[0]
    factor = constant_of(node) if kind_of(node) in _FACTORS else None
    if factor is None or factor.numel() != 1 or factor.is_complex() or not float(factor):
        return ""
    number = float(factor) if kind_of(node) == "Div" else 1 / float(factor)
    return str(round(number)) if number > 1 and math.isclose(number, round(number)) else ""


def _is_by_one(node: Node) -> bool:
    """Whether it multiplies or divides a single number by one, which changes nothing."""
    if kind_of(node) not in _FACTORS or len(inputs_of(node)) != 1:
        return False
    factors = [factor for name in ("self", "other") if (factor := kept(node, name)) is not None]
    return len(factors) == 1 and factors[0].numel() == 1 and float(factors[0]) == 1


def _scales(node: Node) -> bool:
    """Whether it multiplies or divides by a number, perhaps that of the batches that are added up."""
    factors = [factor for name in ("self", "other") if (factor := kept(node, name)) is not None]
    return any(each.numel() == 1 and abs(float(each)) not in _OF_FORMULAS for each in factors)
