"""What a plain Python function names and writes to, read from its bytecode. Nothing is run."""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterator
from types import CodeType, FunctionType

_REFUSED = frozenset({"STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_BUILD_CLASS", "IMPORT_STAR"})
_OF_CELLS = frozenset({"STORE_DEREF", "DELETE_DEREF"})
_OF_ATTRIBUTES = frozenset({"STORE_ATTR", "DELETE_ATTR"})
_BY_NAME = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})


def codes_of(code: CodeType) -> Iterator[CodeType]:
    """The code, and all that is defined within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes_of(constant)


def names_of(function: FunctionType) -> frozenset[str]:
    """Every name that may be one of an attribute, and every word, which ``getattr`` may be given."""
    codes = list(codes_of(function.__code__))
    words = {word for code in codes for word in code.co_consts if isinstance(word, str)}
    return frozenset({name for code in codes for name in code.co_names} | words)


def globals_of(function: FunctionType) -> frozenset[str]:
    """The names that are looked up among globals, and then among builtins."""
    lines = (line for code in codes_of(function.__code__) for line in dis.get_instructions(code))
    return frozenset(str(line.argval) for line in lines if line.opname in _BY_NAME)


def imports_of(function: FunctionType) -> frozenset[str]:
    """The modules that are imported by it."""
    lines = (line for code in codes_of(function.__code__) for line in dis.get_instructions(code))
    return frozenset(str(line.argval) for line in lines if line.opname == "IMPORT_NAME")


def writes_outside(function: FunctionType, *, may_write_to_first: bool) -> bool:
    """Whether it sets globals, variables of what surrounds it, or attributes.

    Args:
        function: whose code is read.
        may_write_to_first: whether attributes of its first argument are its own.
    """
    outer = function.__code__
    own = outer.co_varnames[0] if may_write_to_first and outer.co_argcount else None
    for code in codes_of(outer):
        lines = [line for line in dis.get_instructions(code) if line.opname != "CACHE"]
        for at, line in enumerate(lines):
            if line.opname in _REFUSED:
                return True
            if line.opname in _OF_CELLS and line.argval in outer.co_freevars:
                return True
            if own and line.opname.startswith("STORE_") and own in _words(line.argval):
                return True  # its first argument is no longer what it was
            if line.opname in _OF_ATTRIBUTES:
                named = str(line.argval)
                if named.startswith("__") or code is not outer or not _is_of(own, lines, at):
                    return True
    return any(name not in sys.modules for name in imports_of(function))


def _is_of(own: str | None, lines: list[dis.Instruction], at: int) -> bool:
    """Whether the attribute that is set is one of the variable."""
    if own is None or not at:
        return False
    if lines[at - 1].opname != "SWAP":
        return _loads(lines[at - 1], own)
    for before in range(at - 2, 0, -1):  # as in `self.calls += 1`
        if lines[before].opname == "COPY" and lines[before + 1].argval == lines[at].argval:
            return _loads(lines[before - 1], own)
    return False


def _loads(line: dis.Instruction, own: str) -> bool:
    return line.opname.startswith(("LOAD_FAST", "LOAD_DEREF")) and _words(line.argval)[-1:] == (own,)


def _words(argument: object) -> tuple[object, ...]:
    return argument if isinstance(argument, tuple) else (argument,)
