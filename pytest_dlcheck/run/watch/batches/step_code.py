"""What the code of a loop's step names: within the loop that goes on, and in its own functions.

Read from bytecode. Nothing is run, and nothing judged.
"""

from __future__ import annotations

import dis
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType, FrameType, FunctionType, MethodType
from typing import Any, NamedTuple

from pytest_dlcheck.run.code.bytecode import codes_of
from pytest_dlcheck.run.code.frames import callers, variables, words_of

FRAMES = 4
"""Functions around the call of the model in which the loop is looked for."""
DEEP = 2
"""Functions that are followed, one called by the other."""
PRODUCT = "matmul"
"""The name of what ``@`` does."""
_NOT_THEIRS = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))


class Part(NamedTuple):
    """Some code: of a function by its name, or of a loop, without one."""

    name: str
    lines: list[dis.Instruction]


def named_in_a_step(frame: FrameType | None) -> tuple[set[str], frozenset[str]]:
    """All names there, and the words of the functions around it; nothing where there is no loop.

    Args:
        frame: of the innermost function of the loop's own that runs.
    """
    parts, around = code_of_a_step(frame)
    return set[str]().union(*({part.name, *_names(part.lines)} - {""} for part in parts)), around


def code_of_a_step(frame: FrameType | None) -> tuple[list[Part], frozenset[str]]:
    """All code there, and the words of the functions around it; nothing where there is no loop.

    Args:
        frame: of the innermost function of the loop's own that runs.
    """
    parts, around = list[Part](), frozenset[str]()
    for each in callers(frame, FRAMES):
        lines, is_the_loop = _lines_within(each)
        parts += [Part("", lines), *_of_functions(_names(lines), each)]
        around |= words_of(each.f_code.co_name)
        if is_the_loop:
            return parts, around
    return [], frozenset()


def names_in(parts: Iterable[Part]) -> set[str]:
    """All names, and all words, that the code of these parts has."""
    return set[str]().union(*(_names(part.lines) for part in parts))


def words_in(names: Iterable[str]) -> frozenset[str]:
    """The words of all these names."""
    return frozenset[str]().union(*map(words_of, names))


def _lines_within(frame: FrameType) -> tuple[list[dis.Instruction], bool]:
    """What stands within the innermost loop that goes on, and whether there is one."""
    lines, now = list(dis.get_instructions(frame.f_code)), frame.f_lasti
    ends: dict[int, int] = {}
    for line in lines:
        if "JUMP" in line.opname and isinstance(line.argval, int) and line.argval < line.offset:
            ends[line.argval] = line.offset
    loops = [(begin, end) for begin, end in ends.items() if begin <= now <= end]
    begin, end = min(loops, key=lambda loop: loop[1] - loop[0], default=(0, lines[-1].offset))
    return [line for line in lines if begin <= line.offset <= end], bool(loops)


def _of_functions(names: set[str], frame: FrameType) -> Iterator[Part]:
    """The code of functions of these names, and of those that these call."""
    known = {**frame.f_globals, **variables(frame)}
    waiting = [(function, 1) for function in _functions(names, known)]
    seen: set[CodeType] = set()
    while waiting:
        function, depth = waiting.pop()
        if function.__code__ in seen:
            continue
        seen.add(function.__code__)
        lines = [line for code in codes_of(function.__code__) for line in dis.get_instructions(code)]
        yield Part(function.__name__, lines)
        found = {function.__name__, *_names(lines)}
        if depth < DEEP:
            waiting += [(each, depth + 1) for each in _functions(found, function.__globals__)]


def _functions(names: set[str], known: Mapping[str, Any]) -> Iterator[FunctionType]:
    """The loop's own functions of these names, and methods of what has these names."""
    values = [known[name] for name in names if name in known]
    for value in values:
        function = _undecorated(value.__func__ if type(value) is MethodType else value)
        if type(function) is FunctionType:
            found = [function]
        else:
            kinds = [kind.__dict__ for kind in type(value).__mro__]
            held = (_undecorated(kind.get(name)) for kind in kinds for name in names)
            found = [each for each in held if type(each) is FunctionType]
        yield from (each for each in found if not each.__code__.co_filename.startswith(_NOT_THEIRS))


def _undecorated(function: Any) -> Any:
    """What a decorator such as ``torch.no_grad()`` stands around."""
    for _ in range(DEEP):
        if type(function) is FunctionType:
            function = function.__dict__.get("__wrapped__", function)
    return function


def _names(lines: Iterable[dis.Instruction]) -> set[str]:
    found = set[str]()
    for line in lines:
        given = line.argval if isinstance(line.argval, tuple) else (line.argval,)
        found.update(each for each in given if isinstance(each, str) and line.opname != "COMPARE_OP")
        if line.opname == "BINARY_MATRIX_MULTIPLY" or line.argrepr in {"@", "@="}:
            found.add(PRODUCT)
    return found
