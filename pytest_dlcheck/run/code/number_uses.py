"""Whether the number that ``__getitem__`` is asked for decides anything, by its source. No judgement."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence

_SEES_ALL = frozenset({"eval", "exec", "locals", "vars"})
"""Functions that may read a number without naming it."""
_OF_TESTS = (ast.Compare, ast.BoolOp, ast.UnaryOp, ast.BinOp)
"""What a test that only refuses a number is made of."""


class Uses:
    """Follows a number through the statements of one method.

    Args:
        own: the method's name for the object itself.
        ignored: whether what the object holds by a name, or each of several, ignores its numbers.
    """

    def __init__(self, own: str, ignored: Callable[[str, bool], bool]) -> None:
        self._own, self._ignored = own, ignored
        self._number, self._numbers = "", set[str]()

    def reach(self, body: Sequence[ast.stmt], number: str) -> bool:
        """Whether anything but a refusal is made of the number."""
        self._number, self._numbers = number, {number}
        for statement in body:
            self._spread(statement)
            if self._reads(statement):
                return True
            if isinstance(statement, ast.Assign) and not self._reads(statement.value):
                self._numbers -= {part.id for part in statement.targets if isinstance(part, ast.Name)}
        return False

    def _spread(self, statement: ast.stmt) -> None:
        """Names that are given something made of the number stand for it."""
        assigned = [
            part for part in ast.walk(statement) if isinstance(part, (ast.Assign, ast.AugAssign))
        ]
        known = -1
        while known != len(self._numbers):
            known = len(self._numbers)
            for part in assigned:
                if self._reads(part.value):
                    self._numbers |= _stored(part)

    def _reads(self, node: ast.AST, *, refusing: bool = False) -> bool:
        if isinstance(node, ast.Name):
            named = node.id in self._numbers and not refusing
            return isinstance(node.ctx, ast.Load) and (named or node.id in _SEES_ALL)
        if isinstance(node, ast.Raise) or _names(node) is not None:
            return False
        if isinstance(node, ast.Subscript) and self._is_ignoring(node.value):
            return False
        if isinstance(node, (ast.If, ast.Assert)) and self._only_refuses(node):
            below = node.orelse if isinstance(node, ast.If) else []
            return self._reads(node.test, refusing=True) or any(map(self._reads, below))
        refusing = (refusing and isinstance(node, _OF_TESTS)) or self._is_with_the_length(node)
        return any(self._reads(part, refusing=refusing) for part in ast.iter_child_nodes(node))

    def _only_refuses(self, node: ast.If | ast.Assert) -> bool:
        """Whether nothing but an error, or another value of the number, comes of a test."""
        body = node.body if isinstance(node, ast.If) else []
        return all(isinstance(part, ast.Raise) or self._renumbers(part) for part in body)

    def _renumbers(self, node: ast.stmt) -> bool:
        names = _names(node)
        return bool(names) and _stored(node) <= self._numbers

    def _is_with_the_length(self, node: ast.AST) -> bool:
        """Whether it only asks if the number lies between nothing and the length."""
        if not isinstance(node, ast.Compare):
            return False
        length, sides = (
            f"len({self._own})",
            [ast.unparse(side) for side in (node.left, *node.comparators)],
        )
        return length in sides and {*sides} <= {length, "0", self._number}

    def _is_ignoring(self, node: ast.expr) -> bool:
        """Whether it is a data set that ignores its numbers, or one of several."""
        several = isinstance(node, ast.Subscript)
        if isinstance(node, ast.Subscript):
            if self._reads(node.slice):
                return False
            node = node.value
        if not isinstance(node, ast.Attribute) or ast.unparse(node.value) != self._own:
            return False
        return self._ignored(node.attr, several)


def _names(node: ast.AST) -> set[str] | None:
    """The names that an assignment gives a value to; None where it gives one to anything else."""
    if isinstance(node, ast.AugAssign):
        targets: list[ast.expr] = [node.target]
    elif isinstance(node, ast.Assign):
        targets = node.targets
    else:
        return None
    names = {target.id for target in targets if isinstance(target, ast.Name)}
    return names if len(names) == len(targets) else None


def _stored(node: ast.AST) -> set[str]:
    """Every name that is given a value there."""
    names = (part for part in ast.walk(node) if isinstance(part, ast.Name))
    return {name.id for name in names if isinstance(name.ctx, ast.Store)}
