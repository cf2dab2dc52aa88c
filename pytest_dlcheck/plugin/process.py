"""A process together with all that it starts: one group, that is ended as one. No pytest, no trials."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from socket import socket
from time import monotonic, sleep

_POLL = 0.05
"""Seconds between two looks at whether it has ended."""
_STACKS = 0.3
"""Seconds that it is given to write down where it is."""
STACKS_SIGNAL = getattr(signal, "SIGUSR1", None)
"""At which a process that was prepared for it writes down the stacks of its threads."""


_GUARD = """
import os, shutil, signal, sys
folders = {}
for line in sys.stdin.buffer:
    group, _, folder = line.rstrip(b"\\n").partition(b" ")
    folders[int(group)] = folder
    if not folder:
        del folders[int(group)]
for group, folder in folders.items():
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
    shutil.rmtree(folder, ignore_errors=True)
"""


class Guard:
    """Ends the groups of the moment, and their folders, where this process is killed and cannot do so.

    A small process that waits for the other end of its input to vanish.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def watch(self, group: int, folder: Path | None = None) -> None:
        """Watch over a group and its folder from now on; no longer, where there is no folder."""
        if sys.platform == "win32":
            return
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _GUARD],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.write(b"%d %s\n" % (group, os.fsencode(folder or "")))
            self._process.stdin.flush()

    def dismiss(self) -> None:
        """Let it go."""
        process, self._process = self._process, None
        if process is not None:
            process.communicate()


class Group:
    """A running process in a group of its own.

    Args:
        guard: sees to its end where this process cannot.
        command: the program and its arguments.
        folder: the working directory.
        environment: all of the environment.
        output: the file that takes what it prints, in a folder that goes with it.
        line: its end of a socket, which keeps its number there; None for none.
    """

    def __init__(
        self,
        guard: Guard,
        command: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        output: Path,
        line: socket | None = None,
    ) -> None:
        self._guard = guard
        with output.open("wb") as file:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=() if line is None else (line.fileno(),),
            )
        guard.watch(self._process.pid, output.parent)

    def has_ended(self, *, within: float = _POLL) -> bool:
        """Whether its first process has ended; waits a moment for it."""
        until = monotonic() + within
        while not self._has_ended():
            if monotonic() >= until:
                return False
            sleep(min(_POLL, within) / 5)
        return True

    def ask_for_stacks(self) -> None:
        """Have each of its processes write down where it is, and give them the time for it."""
        if STACKS_SIGNAL is not None:
            self._signal(STACKS_SIGNAL)
            sleep(_STACKS)

    def end(self) -> int:
        """Kill what is left of the group; returns the exit code of its first process.

        Where that had ended by itself, the code tells how: a number below 0 is a signal's.
        """
        if sys.platform != "win32":
            self._signal(signal.SIGKILL)
        with suppress(OSError):
            self._process.kill()
        self._guard.watch(self._process.pid)
        return self._process.wait()

    def _has_ended(self) -> bool:
        """Asked without reaping it, so that its group keeps its number until it is ended."""
        if sys.platform == "win32" or not hasattr(os, "waitid"):
            return self._process.poll() is not None
        try:
            look = os.WEXITED | os.WNOHANG | os.WNOWAIT
            return os.waitid(os.P_PID, self._process.pid, look) is not None
        except ChildProcessError:
            return True

    def _signal(self, number: int) -> None:
        if sys.platform != "win32":
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)
