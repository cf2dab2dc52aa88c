"""Map-style data sets that ignore the number they are asked for: streams, and samples drawn anew.

Told from the source of ``__getitem__``. No order that a loader draws reaches such samples. No judgement.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any

from torch.utils.data import Dataset

_DEEPEST = 6
"""Data sets within each other that are followed."""


def ignores_its_numbers(data: Any, deep: int = _DEEPEST) -> bool:
    """Whether a data set, or one that it holds, gives samples that have nothing to do with the number.

    Comparing the number, as with the length, is no use of it.
    """
    read = getattr(type(data), "__getitem__", None)
    if isinstance(read, FunctionType) and not hasattr(type(data), "__getitems__"):
        code = read.__code__
        if code.co_argcount > 1 and _ignores(code):
            return True
    return deep > 0 and any(ignores_its_numbers(part, deep - 1) for part in _held(data))


def _held(data: Any) -> list[Any]:
    values = list(getattr(data, "__dict__", {}).values())
    values += [part for value in values if type(value) in {list, tuple} for part in value[:_DEEPEST]]
    return [value for value in values if isinstance(value, Dataset)]


@lru_cache(maxsize=64)
def _ignores(code: CodeType) -> bool:
    """Whether a method never makes anything of its first argument."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(code)))
    except (OSError, SyntaxError, TypeError, ValueError):
        return False
    function = tree.body[0] if tree.body else None
    if not isinstance(function, ast.FunctionDef):
        return False
    name = code.co_varnames[1]
    for statement in function.body:
        if _reads(statement, name):
            return False
        if isinstance(statement, ast.Assign) and any(_is(target, name) for target in statement.targets):
            return True
    return True


def _reads(node: ast.AST, name: str) -> bool:
    """Whether a name is read there, but to be compared, or to be named as unused."""
    if _is(node, name):
        return isinstance(getattr(node, "ctx", None), ast.Load)
    below = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.Compare):
        below = [part for part in below if not _is_sum_of(part, name)]
    elif isinstance(node, ast.Assign) and all(_is(target, "_") for target in node.targets):
        return False
    return any(_reads(part, name) for part in below)


def _is_sum_of(node: ast.AST, name: str) -> bool:
    """Whether it is the number itself, or what arithmetic makes of it."""
    if isinstance(node, ast.BinOp):
        return any(_is_sum_of(side, name) for side in (node.left, node.right))
    return _is(node, name)


def _is(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
