"""Two processes take the time in turns: what disturbs the machine then disturbs both alike. No torch.

They hold the two ends of a socket. Whoever may go on has been sent a byte; the other waits for it. Where
the other one leaves or dies, its end is closed, and this one goes on alone.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from typing import Self

VARIABLE = "PYTEST_DLCHECK_TURNS"
"""In the environment: the number of this process's end of the socket, and ``first`` or ``second``."""
_GO_ON, _LAST = b"t", b"l"
_PID = struct.Struct("!q")


class Turns:
    """The turns of this process, to be entered: ``with turns: ...`` waits for one, and hands it over.

    Args:
        line: this end of the socket; None where there is nobody to take turns with.
        first: whether the first turn is this process's own.
    """

    def __init__(self, line: socket.socket | None = None, *, first: bool = True) -> None:
        self._line, self._mine, self._ends = line, first, False
        self.partner: int | None = None
        """The other process's number; None where there is none."""
        self.partner_is_done = False
        """Whether the other one has taken the time as often as it wanted to."""
        if line is not None:
            line.set_inheritable(False)
            self._greet(line)

    @classmethod
    def of_this_process(cls) -> Turns:
        """Those that whoever started this process has arranged; none, where nobody has."""
        told = os.environ.pop(VARIABLE, "")
        if not told:
            return cls()
        number, order = told.split()
        return cls(socket.socket(fileno=int(number)), first=order == "first")

    @property
    def are_shared(self) -> bool:
        """Whether there is another process that waits for its own."""
        return self._line is not None

    @property
    def were_kept(self) -> bool:
        """Whether there is another process that has not left before it had had enough."""
        return self.partner is not None and (self.are_shared or self.partner_is_done)

    def __enter__(self) -> Self:
        if self._line is not None and not self._mine:
            self._listen()
            self._mine = True
        return self

    def __exit__(self, *_: object) -> None:
        if self._line is not None:
            self._say(_LAST if self._ends else _GO_ON)
            self._mine = False

    def end(self) -> None:
        """Tell the other one, with the next turn, that this one has taken the time often enough."""
        self._ends = True

    def close(self) -> None:
        """Leave the other one alone."""
        line, self._line = self._line, None
        if line is None:
            return
        with line, suppress(OSError):
            if self._ends:
                line.sendall(_LAST)
            line.shutdown(socket.SHUT_RDWR)  # a forked worker of ours may still hold this end

    def _greet(self, line: socket.socket) -> None:
        self._say(_PID.pack(os.getpid()))
        greeting = self._heard(_PID.size)
        if self._line is line and len(greeting) == _PID.size:
            (self.partner,) = _PID.unpack(greeting)

    def _say(self, words: bytes) -> None:
        try:
            if self._line is not None:
                self._line.sendall(words)
        except OSError:  # it has left: what it said before that still lies there
            self._listen()
            self.close()

    def _listen(self) -> None:
        self.partner_is_done = self._heard(1) == _LAST or self.partner_is_done

    def _heard(self, size: int) -> bytes:
        try:
            words = b"" if self._line is None else self._line.recv(size, socket.MSG_WAITALL)
        except OSError:
            words = b""
        if not words:
            self.close()
        return words
