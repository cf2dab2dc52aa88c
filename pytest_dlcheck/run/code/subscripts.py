"""By what a piece of code picks from a variable, read from its bytecode. Nothing is run."""

from __future__ import annotations

import dis
from collections.abc import Iterable, Iterator

_VARIABLES = ("LOAD_FAST", "LOAD_DEREF", "LOAD_NAME", "LOAD_GLOBAL")


def picked_by(lines: Iterable[dis.Instruction], name: str) -> Iterator[str]:
    """What stands in the brackets behind a variable, or an attribute, that is read: names, and words.

    Of ``label[test_mask]`` and ``data.y[data.test_mask]`` it is the name, of ``y[parts["test"]]`` the
    word.
    What is worked out within the brackets is left out.

    Args:
        lines: of the code.
        name: of the variable, or the attribute.
    """
    found = list(_one_by_one(lines))
    for at, (operation, _) in enumerate(found):
        if operation == "[]":
            word, base = _index(found, at - 1)
            if word and base >= 0 and _is_named(found[base], name):
                yield word


def stored_in(lines: Iterable[dis.Instruction], name: str) -> bool:
    """Whether a variable of this name is assigned to.

    Args:
        lines: of the code.
        name: of the variable.
    """
    stores = (line.argval for line in lines if "STORE" in line.opname)
    return any(name in (each if isinstance(each, tuple) else (each,)) for each in stores)


def _one_by_one(lines: Iterable[dis.Instruction]) -> Iterator[tuple[str, object]]:
    """Operations with what they are given, those that load two things as two."""
    for line in lines:
        if line.opname == "BINARY_SUBSCR" or line.argrepr == "[]":
            yield "[]", None
        elif isinstance(line.argval, tuple) and "LOAD_FAST" in line.opname:
            loaded = line.argval[line.opname.startswith("STORE_") :]
            yield from (("LOAD_FAST", each) for each in loaded)
        elif line.opname != "CACHE":
            yield line.opname, line.argval


def _index(found: list[tuple[str, object]], at: int) -> tuple[str, int]:
    """What is loaded there, by its last name, and the place before it; empty where it is worked out."""
    operation, given = found[at] if at >= 0 else ("", None)
    if operation == "[]" and at and found[at - 1][0] == "LOAD_CONST":
        word = found[at - 1][1]
        return (word, _index(found, at - 2)[1]) if isinstance(word, str) else ("", -1)
    if operation.startswith(_VARIABLES) and isinstance(given, str):
        return given, at - 1
    if operation == "LOAD_ATTR" and isinstance(given, str):
        owner, before = _index(found, at - 1)
        return (given, before) if owner else ("", -1)
    return "", -1


def _is_named(line: tuple[str, object], name: str) -> bool:
    return line[1] == name and line[0].startswith((*_VARIABLES, "LOAD_ATTR"))
