"""A recipe file as it will be written, and the words that all of them share."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

TODO = '''

def todo(what):
    """What only you know. Nothing is trained before it is filled in."""
    raise NotImplementedError(f"still to fill in: {what} (in the place of this todo(...))")
'''
"""The end of a file that has something to fill in."""
_LISTED = 8


class ScaffoldError(ValueError):
    """No recipe can be written for this; the message says why, and what would do."""


@dataclass(frozen=True)
class Draft:
    """A recipe file, not yet written.

    Attributes:
        name: the recipe's name.
        text: the file.
        missing: what is still to be filled in, a line each.
        notes: what the user should know, a line each.
    """

    name: str
    text: str
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def nearest(kind: str, name: str, names: Iterable[str]) -> str:
    """The message that there is no such name, with the one most like it, or a few that there are."""
    names = sorted(names)
    lowered = {n.lower(): n for n in names}
    near = get_close_matches(name.lower(), lowered, n=1, cutoff=0.5)
    if near:
        return f"{kind}, did you mean {lowered[near[0]]!r}?"
    if not names:
        return kind
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{kind} (there are {', '.join(names[:_LISTED])}{more})"


def identifier(name: str, taken: Iterable[str] = ()) -> str:
    """A recipe's name for a model's: ``SmallNet`` becomes ``small_net``."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    slug = re.sub(r"\W+", "_", words).strip("_").lower() or "model"
    slug = f"model_{slug}" if slug[0].isdigit() else slug
    unusable = keyword.iskeyword(slug) or slug in {"recipe", "todo", "torch", *taken}
    return f"{slug}_recipe" if unusable else slug


def todo(what: str) -> str:
    """The expression that stands for what is missing."""
    quoted = what.replace("\\", "\\\\").replace('"', '\\"')
    return f'todo("{quoted}")'
