"""Map-style data sets that ignore the number they are asked for: streams, and samples drawn anew.

Told from the source of ``__getitem__``. No order that a loader draws reaches such samples. No judgement.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any

from torch.utils.data import ConcatDataset, Subset

from pytest_dlcheck.run.code.number_uses import Uses

_DEEPEST = 6
"""Data sets within each other that are followed, and those beside each other."""


def ignores_its_numbers(data: Any) -> bool:
    """Whether a data set gives samples that have nothing to do with the number.

    Handing the number on to a data set that ignores it is no use of it, nor is refusing it.
    """
    return _ignores(data, _DEEPEST, {})


def _ignores(data: Any, deep: int, found: dict[int, bool]) -> bool:
    if deep == 0:
        return False
    if id(data) not in found:
        found[id(data)] = False
        found[id(data)] = _look(data, lambda part: _ignores(part, deep - 1, found))
    return found[id(data)]


def _look(data: Any, ignores: Callable[[Any], bool]) -> bool:
    read = getattr(type(data), "__getitem__", None)
    if read is Subset.__getitem__:
        return ignores(data.dataset)
    if read is ConcatDataset.__getitem__:
        return any(ignores(part) for part in data.datasets[:_DEEPEST])
    if not isinstance(read, FunctionType) or hasattr(type(data), "__getitems__"):
        return False
    code = read.__code__
    function = _source(code) if code.co_argcount > 1 else None
    if function is None:
        return False
    own, number = code.co_varnames[:2]
    held = getattr(data, "__dict__", {})

    def all_ignore(name: str, several: bool) -> bool:  # noqa: FBT001  as it is asked
        parts: Any = held.get(name) if several else [held.get(name)]
        return type(parts) in {list, tuple} and bool(parts) and all(map(ignores, parts[:_DEEPEST]))

    return not Uses(own, all_ignore).reach(function.body, number)


@lru_cache(maxsize=64)
def _source(code: CodeType) -> ast.FunctionDef | None:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(code)))
    except (OSError, SyntaxError, TypeError, ValueError):
        return None
    function = tree.body[0] if tree.body else None
    return function if isinstance(function, ast.FunctionDef) else None
