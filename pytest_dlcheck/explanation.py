"""A check in its own words: its docstring in sections, its thresholds with their values and origins."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from inspect import cleandoc, getsource
from textwrap import dedent

from pytest_dlcheck.check import Check


@dataclass(frozen=True, slots=True)
class Threshold:
    """A number that a check decides by.

    Attributes:
        name: the field of the check.
        value: what it is by default.
        text: its unit and where it comes from.
    """

    name: str
    value: object
    text: str


@dataclass(frozen=True, slots=True)
class Section:
    """A part of what a check says of itself.

    Attributes:
        title: ``"Why it matters"``; empty for what comes before the first heading.
        text: its paragraphs.
    """

    title: str
    text: str


def sections(check: Check) -> tuple[Section, ...]:
    """The docstring after its first line, in sections that begin with a bold heading."""
    text = cleandoc(type(check).__doc__ or "").partition("\n")[2].strip()
    first, *rest = re.split(r"^\*\*(.+?)\.?\*\*\s*", text, flags=re.MULTILINE)
    found = [Section("", first.strip())] if first.strip() else []
    return (*found, *(Section(t, b.strip()) for t, b in zip(rest[::2], rest[1::2], strict=True)))


def thresholds(check: Check) -> tuple[Threshold, ...]:
    """The fields of a check with the docstrings that stand below them in its source."""
    told = dict(_field_docstrings(type(check)))
    return tuple(Threshold(f.name, getattr(check, f.name), told.get(f.name, "")) for f in fields(check))


def _field_docstrings(kind: type[Check]) -> Iterator[tuple[str, str]]:
    module = ast.parse(dedent(getsource(kind)))
    (definition,) = (node for node in module.body if isinstance(node, ast.ClassDef))
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            match below:
                case ast.Expr(ast.Constant(str(text))):
                    yield field.target.id, cleandoc(text)
