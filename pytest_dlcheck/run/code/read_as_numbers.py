"""Whether a function reads a tensor that it has made as a number only, by its source. Nothing is run."""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import lru_cache
from types import CodeType, FrameType

_READS = frozenset({"item", "detach", "tolist", "cpu", "data", "isfinite", "isnan", "isinf"})
_CALLS = frozenset({"float", "print", "isfinite", "isnan", "isinf"})
_SEES_ALL = frozenset({"eval", "exec", "locals", "vars", "globals"})
"""Functions that may read a variable without naming it."""
LONGEST = 200_000
"""Characters of a source that are read."""


def is_only_read(frame: FrameType, name: str, *, or_added: bool = False) -> bool:
    """Whether nothing is made of a variable but its number: it is never propagated, nor handed on.

    Args:
        frame: of the function, or the module.
        name: the variable's.
        or_added: whether it may also be a part of an expression, as the terms of a sum are.
    """
    return _is_only_read(frame.f_code, name, or_added)


@lru_cache(maxsize=64)
def _is_only_read(code: CodeType, name: str, or_added: bool) -> bool:  # noqa: FBT001  for the cache
    try:
        source = textwrap.dedent(inspect.getsource(code))
        tree = ast.parse(source) if len(source) <= LONGEST else None
    except (OSError, TypeError, SyntaxError, ValueError):
        return False
    if tree is None:
        return False
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    if any(node.id in _SEES_ALL for node in names):
        return False
    found = [node for node in names if node.id == name and isinstance(node.ctx, ast.Load)]
    return all(_reads(node, parents[node], or_added=or_added) for node in found)


def _reads(name: ast.Name, use: ast.AST, *, or_added: bool) -> bool:
    if isinstance(use, ast.Attribute):
        return use.attr in _READS
    if isinstance(use, ast.Call):
        called = use.func.attr if isinstance(use.func, ast.Attribute) else getattr(use.func, "id", "")
        return called in _CALLS and use.func is not name
    if isinstance(use, (ast.FormattedValue, ast.Compare)):
        return True
    return or_added and isinstance(use, (ast.BinOp, ast.UnaryOp, ast.AugAssign))
