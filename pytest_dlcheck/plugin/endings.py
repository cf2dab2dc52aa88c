"""How a process that ended without an answer is told: what ended it, where it was, what it said last."""

from __future__ import annotations

import re
import signal
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pytest_dlcheck.trace import Ending

TAIL = 20
"""Lines of its output that are told."""
_WIDEST = 500
_FRAME = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d+) in (?P<function>.*)$')
_LIBRARY = sysconfig.get_path("stdlib")
_OURS = str(Path(__file__).resolve().parents[1])
_FOREIGN = re.compile(
    r"[/\\](site|dist)-packages[/\\](torch|pluggy|execnet|xdist|_?pytest\w*)([/\\]|\.py$)|^<"
)
_LOADER = re.compile(r"torch[/\\]utils[/\\]data[/\\]dataloader\.py$")


@dataclass(frozen=True)
class Death:
    """What is known of a process that ended, or was ended, without an answer.

    Attributes:
        code: its exit code, below 0 a signal's number; None where its time was up.
        begun: whether it had begun with the trial.
        limit: the seconds that it had, where its time was up.
        step: the last step that it told of.
        seconds: how long the trial took until then.
        out_of_memory: whether the system killed processes for want of memory meanwhile.
        stacks: what its processes wrote down of where they were, its own first.
        output: what it printed during the trial.
    """

    code: int | None
    begun: bool
    limit: float | None = None
    step: int | None = None
    seconds: float = 0.0
    out_of_memory: bool = False
    stacks: tuple[str, ...] = ()
    output: str = ""


def ending_of(death: Death, root: Path) -> Ending:
    """The ending that a trial has by the death of its process.

    Args:
        death: what is known of it.
        root: the folder that paths are shortened by.
    """
    where, frames = _place(death.stacks, root)
    detail = "\n".join([*(f"  {frame}" for frame in frames), *_tail(death.output)])
    if death.code is None:
        return Ending("timed_out", death.step, _late(death), where, detail)
    if not death.begun:
        place = "collecting the recipe again, in a process of its own"
        message = f"its process {_how(death.code).partition(' (')[0]} before it could begin"
        return Ending("raised", None, message, place, detail)
    if death.code == -getattr(signal, "SIGKILL", 9) and death.out_of_memory:
        message = "the system killed its process for want of memory: use a smaller batch or model"
        return Ending("out_of_memory", death.step, message, where, detail)
    return Ending("killed", death.step, f"its process {_how(death.code)}", where, detail)


def _place(stacks: tuple[str, ...], root: Path) -> tuple[str, tuple[str, ...]]:
    """Where it was, and the user's frames there; of the loader's workers where it waited for them."""
    if not stacks:
        return "", ()
    first, *others = (_own_frames(stack, root) for stack in stacks)
    if not any(_LOADER.search(frame["file"]) for frame in _frames(stacks[0])):
        return (first[0] if first else ""), first
    for frames in others:
        if frames:
            return f"{frames[0]}, in a worker of the data loader", frames
    return "waiting for the data loader", first


def _late(death: Death) -> str:
    if death.begun:
        return f"its time limit of {death.limit:g} s was reached, and its process was ended"
    return f"it had not begun {death.limit:g} s after its process was started, and was ended"


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code} (os._exit, or a library that ends the process)"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        return f"was killed by signal {-code}"
    if name == "SIGKILL":
        return "was killed by SIGKILL: by hand, or by whoever watches over the machine's memory"
    return f"was killed by {name} ({signal.strsignal(-code)})"


def _own_frames(stack: str, root: Path) -> tuple[str, ...]:
    """The user's frames, innermost first: ``forward, in test_it.py:12``."""
    return tuple(
        f"{frame['function']}, in {_short(frame['file'], root)}:{frame['line']}"
        for frame in _frames(stack)
        if not _is_foreign(frame["file"])
    )


def _is_foreign(file: str) -> bool:
    if file.startswith(_OURS) or _FOREIGN.search(file):
        return True
    return file.startswith(_LIBRARY) and "-packages" not in file


def _frames(stack: str) -> list[dict[str, str]]:
    """The frames of the thread that matters: the one that failed, else the first that was started."""
    threads = re.split(r"^(?=Thread |Current thread )", stack, flags=re.MULTILINE)[1:]
    failed = [thread for thread in threads if thread.startswith("Current")]
    for thread in (*failed, *reversed(threads)):
        found = [match.groupdict() for match in map(_FRAME.match, thread.splitlines()) if match]
        if found:
            return found
    return []


def _short(file: str, root: Path) -> str:
    """The path without what lies around it: from the root, or from where it is imported."""
    path = Path(file)
    imported = sorted(filter(None, sys.path), key=len, reverse=True)
    inside = (place for place in (root, *map(Path, imported)) if path.is_relative_to(place))
    return next((str(path.relative_to(place)) for place in inside), path.name)


def _tail(output: str) -> Iterable[str]:
    lines = [line.rstrip()[:_WIDEST] for line in output.splitlines() if line.strip()]
    if not lines:
        return []
    return ["the last of what it printed:", *(f"  {line}" for line in lines[-TAIL:])]
