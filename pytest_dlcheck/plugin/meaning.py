"""What two versions of a test file say of one recipe: read and never run; comments say nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

_POLICY = frozenset({"dlcheck", "pytestmark"})
"""Markers are of both versions alike: the policy is always that of the code at hand."""
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def reads_otherwise(file: Path, other: Path, names: Iterable[str]) -> bool:
    """Whether two versions of a file differ in what some names stand for, or in what that needs.

    One that cannot be read, or is new, differs in nothing.

    Args:
        file: one of them.
        other: the other.
        names: of the recipe, of the fixtures that it has, and what else is looked up in the file.
    """
    try:
        one, two = (ast.parse(path.read_bytes()) for path in (file, other))
    except (OSError, SyntaxError, ValueError):
        return False
    return _told_of(one, set(names)) != _told_of(two, set(names))


def names_in(file: Path, names: Iterable[str]) -> set[str]:
    """The names that a file uses for what some names stand for, these included."""
    wanted = set(names)
    try:
        _told_of(ast.parse(file.read_bytes()), wanted)
    except (OSError, SyntaxError, ValueError):
        return wanted
    return wanted


def _told_of(tree: ast.Module, wanted: set[str]) -> list[str]:
    """The statements that matter to names, as text; ``wanted`` grows by the names that these use."""
    statements = [_bare(one) for one in tree.body if not _is_docstring(one)]
    told: dict[int, str] = {}
    while True:
        more = [
            (index, one)
            for index, one in enumerate(statements)
            if index not in told and ((made := _made(one)) is None or made & wanted)
        ]
        if not more:
            return [told[index] for index in sorted(told)]
        for index, one in more:
            told[index] = ast.dump(one)
            wanted |= {name for node in ast.walk(one) if (name := _named(node))}


def _named(node: ast.AST) -> str:
    """The name that it looks up, here or in another file; empty where it looks up none."""
    match node:
        case ast.Name(id=name) | ast.arg(arg=name) | ast.Attribute(attr=name) | ast.alias(name=name):
            return name
    return ""


def _made(statement: ast.stmt) -> set[str] | None:
    """The names that a statement makes and nothing else; None where it does more than that."""
    if isinstance(statement, _DEFINITIONS):
        return {statement.name, *_names_as_fixture(statement)}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {(one.asname or one.name).partition(".")[0] for one in statement.names}
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        if all(isinstance(target, ast.Name) for target in targets):
            return {target.id for target in targets if isinstance(target, ast.Name)} - _POLICY
    return None


def _names_as_fixture(statement: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> set[str]:
    """What it is called by ``@pytest.fixture(name="data")``."""
    calls = [one for one in statement.decorator_list if isinstance(one, ast.Call)]
    values = (word.value for call in calls for word in call.keywords if word.arg == "name")
    return {str(value.value) for value in values if isinstance(value, ast.Constant)}


def _bare(statement: ast.stmt) -> ast.stmt:
    """It without markers of ours and docstrings."""
    for node in ast.walk(statement):
        if isinstance(node, _DEFINITIONS):
            node.decorator_list = [one for one in node.decorator_list if not _is_policy(one)]
            node.body = [one for one in node.body if not _is_docstring(one)]
    return statement


def _is_policy(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(called, ast.Attribute) and called.attr in _POLICY


def _is_docstring(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
