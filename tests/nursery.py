"""A Python that has imported torch already: what is started with it is forked, within milliseconds.

A pytest that starts from nothing imports torch for seconds. What is forked here is a process of its own
all the same, with its own arguments, environment, folder, output and death; only what has been imported
was not imported by it. Tests of what is imported, and of trials that die, start from nothing.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import runpy
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

IMPORTED = ("torch", "torch._dynamo", "pytest", "execnet")
"""What every session of a toy project takes seconds for; no plugins, whose asserts pytest rewrites."""
DOOR = """\
import json, os, signal, socket, sys
with socket.socket(socket.AF_UNIX) as line:
    line.connect(sys.argv[1])
    asked = {"arguments": sys.argv[2:], "folder": os.getcwd(), "environment": dict(os.environ)}
    told = json.dumps(asked).encode()
    socket.send_fds(line, [b"%8d" % len(told)], [0, 1, 2])
    line.sendall(told)
    answers = line.makefile()
    pid = int(answers.readline())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: os.kill(pid, number))
    code = int(answers.readline())
if code < 0:
    if -code != signal.SIGKILL:
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
"""
"""Has a child forked, stands for it as long as it lives, and dies as it did."""


_POLL = 0.02
"""Seconds between two looks at whether a child has ended."""


class Nursery:
    """The process that is forked; started at once, and ready when it has imported.

    Attributes:
        python: a program to be started in the place of ``sys.executable``; what it starts is forked too.
        once: the same, whose own ``sys.executable`` is the fresh one.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="nursery-"))
        door, code = self._folder / "door", self._folder / "door.py"
        code.write_text(DOOR, "utf-8")
        command = shlex.join([sys.executable, "-IS", str(code), str(door)])
        self.python = self._program("python", f'{command} "$0" "$@"')
        self.once = self._program("once", f'{command} {shlex.quote(sys.executable)} "$@"')
        listening = socket.socket(socket.AF_UNIX)
        with listening:
            listening.bind(str(door))
            listening.listen()
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__, str(listening.fileno())],
                stdin=subprocess.PIPE,
                pass_fds=[listening.fileno()],
                env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
            )

    def _program(self, name: str, command: str) -> str:
        path = self._folder / name
        path.write_text(f"#!/bin/sh\nexec {command}\n", "utf-8")
        path.chmod(0o755)
        return str(path)

    def close(self) -> None:
        """Let it go."""
        self._process.communicate()
        shutil.rmtree(self._folder)


def _next(listening: socket.socket) -> list[str]:
    """Fork for everyone who asks; returns in each child alone, with its command line."""
    lines: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([listening, 0, *lines.values()], [], [], _POLL if lines else None)
        if 0 in ready:
            sys.exit()
        for pid in [pid for pid, line in lines.items() if line in ready]:
            os.kill(pid, signal.SIGKILL)  # the one who waits for it has died
        for pid in list(lines):
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                _told(lines.pop(pid), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).close()
        if listening not in ready:
            continue
        line, _ = listening.accept()
        size, files, _, _ = socket.recv_fds(line, 8, 3)
        asked = json.loads(line.recv(int(size), socket.MSG_WAITALL))
        if pid := os.fork():
            lines[pid] = _told(line, pid)
            for file in files:
                os.close(file)
            continue
        for other in (listening, line, *lines.values()):
            other.close()
        _become(asked["folder"], asked["environment"], files)
        return asked["arguments"]


def _told(line: socket.socket, number: int) -> socket.socket:
    with contextlib.suppress(OSError):
        line.sendall(b"%d\n" % number)
    return line


def _become(folder: str, environment: dict[str, str], files: list[int]) -> None:
    """Take over what a process is given by the one who starts it."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # asked for again, where that environment says
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)


def _run(python: str, *arguments: str) -> None:
    """Do what the interpreter does with its command line."""
    sys.executable = python
    flags, rest = "", list(arguments)
    while rest and rest[0].startswith("-") and rest[0][1] not in "cm":
        flag = rest.pop(0)
        flags += flag[1:] if flag[1] not in "XW" else ""
        if flag in {"-X", "-W"}:
            rest.pop(0)
    sys.dont_write_bytecode = bool("B" in flags or os.environ.get("PYTHONDONTWRITEBYTECODE"))
    _open(unbuffered="u" in flags or bool(os.environ.get("PYTHONUNBUFFERED")))
    if "I" not in flags:
        sys.path[:0] = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    how = rest[0][:2]
    what = rest.pop(0)[2:] or rest.pop(0) if how in {"-c", "-m"} else rest.pop(0)
    if not {"I", "P"} & set(flags):
        sys.path.insert(0, {"-c": "", "-m": str(Path.cwd())}.get(how, str(Path(what).parent)))
    sys.argv[:] = [how if how in {"-c", "-m"} else what, *rest]
    importlib.invalidate_caches()
    if how == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
        return
    main = sys.modules["__main__"] = ModuleType("__main__")
    if how != "-c":
        main.__file__ = str(Path(what).absolute())
    code = what if how == "-c" else Path(what).read_bytes()
    exec(compile(code, "<string>" if how == "-c" else main.__file__, "exec"), vars(main))


def _end(run: Callable[..., None], *arguments: str) -> None:
    """Run, and end as an interpreter does, but for taking apart everything that was imported."""
    code = 0
    try:
        run(*arguments)
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
        if not isinstance(exit_.code, int | None):
            sys.stderr.write(f"{exit_.code}\n")
    except BaseException as error:  # noqa: BLE001
        code = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
        sys.excepthook(type(error), error, error.__traceback__)
    threading._shutdown()  # noqa: SLF001  waits for what still runs
    atexit._run_exitfuncs()  # noqa: SLF001  nobody else does so before os._exit
    sys.stdout.flush()
    sys.stderr.flush()
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _open(*, unbuffered: bool) -> None:
    """Streams of the files that are its own now."""
    sys.stdin = sys.__stdin__ = os.fdopen(0, encoding="utf-8", closefd=False)
    for name, number, errors in (("stdout", 1, "strict"), ("stderr", 2, "backslashreplace")):
        file = os.fdopen(number, "wb", 0 if unbuffered else -1, closefd=False)
        stream = io.TextIOWrapper(
            file,
            encoding="utf-8",
            errors=errors,
            line_buffering=number == 2 or file.isatty(),
            write_through=unbuffered,
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


if __name__ == "__main__":
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()  # what is there by now is not looked through, and so not copied, in every child
    _end(_run, *_next(socket.socket(fileno=int(sys.argv[1]))))
