"""The journal: one flushed JSON line per recipe, trace and verdict, as each is reached.

Every other report is made from it, at the end of the session or later, also after a crash.
``docs/journal.md`` and ``docs/journal.schema.json`` describe its lines.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from typing import Any

from pytest_dlcheck.reports.contents import Contents, Reader
from pytest_dlcheck.reports.files import beside
from pytest_dlcheck.reports.secrets import masked

VERSION = 1
"""Of the lines' schema. A reader refuses a newer one, and passes over kinds of lines new to it."""


class JournalError(Exception):
    """A journal cannot be written or read; the message names it and says why."""


class Journal:
    """Writes a journal. What was written is on its way to the disk when :meth:`write` returns.

    Args:
        path: the file, made anew; its folder is made if it is not there. Another session that still
            writes there keeps what it has, unseen. None for a journal that is in memory alone.
        session: what is known of the session: its start, versions, platform.

    Raises:
        JournalError: it cannot be opened.
    """

    def __init__(self, path: Path | None, session: Mapping[str, Any] | None = None) -> None:
        self.path = path
        self.error = ""
        """Why it could not be written to its end; empty as long as all is well."""
        try:
            self._file = None if path is None else _opened(path)
        except (OSError, ValueError) as error:
            raise JournalError(f"the journal {path} cannot be written: {_reason(error)}") from None
        self._kept: list[str] | None = None if self._is_given_back() else []
        """The lines that the file will not give back: it is none, or it is full."""
        told = {"session": dict(session)} if session is not None else {}
        self.write("journal", {"version": VERSION, **told})

    def write(self, kind: str, data: Mapping[str, Any]) -> None:
        """Append a line. A disk that is full is remembered in ``error``, and nothing is raised."""
        line = masked(json.dumps({"kind": kind, **data}, allow_nan=False))
        if self._kept is not None:
            self._kept.append(line)
        if self._file is None or self.error:
            return
        rest = memoryview(f"{line}\n".encode("ascii"))
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self.error = f"the journal {self.path} ends early: {_reason(error)}"
            if self._kept is None:
                self._kept = [line]  # what came before is read from the file
            else:
                self.close()

    def contents(self) -> Contents:
        """What was written so far, also what did not reach the disk.

        Raises:
            JournalError: the file does not give it back.
        """
        lines: list[str] = []
        if self._file is not None and self._is_given_back():
            try:
                self._file.seek(0)
                whole, _, _ = self._file.readall().rpartition(b"\n")
            except OSError as error:
                raise JournalError(f"the journal {self.path} cannot be read: {_reason(error)}") from None
            lines = whole.decode("ascii", errors="replace").split("\n")
        return _parsed([*filter(None, lines), *(self._kept or ())], str(self.path))

    def close(self) -> None:
        """Close it; later lines are dropped."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:
                self.error = self.error or f"the journal {self.path} ends early: {_reason(error)}"

    def _is_given_back(self) -> bool:
        return self._file is not None and stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)


def read(path: Path) -> Contents:
    """Read a journal, also one whose writer was killed: a torn last line is noted and left out.

    Raises:
        JournalError: the file cannot be read, is no journal, or is of a newer version.
    """
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise JournalError(f"the journal {path} cannot be read: it is no file")
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except (OSError, ValueError) as error:
        raise JournalError(f"the journal {path} cannot be read: {_reason(error)}") from None
    if not lines:
        raise JournalError(f"{path} is no journal: it is empty")
    return _parsed(lines, str(path))


def _parsed(lines: list[str], name: str) -> Contents:
    reader = Reader()
    notice = ""
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            _refuse_newer(entry)
            reader.take(entry)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            if number == len(lines) > 1:
                notice = f"{name}: the last line is torn and was left out"
                break
            raise JournalError(f"{name} is no journal: line {number} {_why(error)}") from None
    return reader.contents(notice)


def _refuse_newer(entry: Mapping[str, Any]) -> None:
    if entry["kind"] == "journal" and entry["version"] > VERSION:
        raise JournalError(
            f"the journal is of version {entry['version']}, and this pytest-dlcheck reads up to "
            f"{VERSION}: use a newer one"
        )


def _opened(path: Path) -> FileIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file():
        return FileIO(path, "w")
    target = path.resolve()
    fresh = beside(target)
    file = FileIO(fresh, "w+")
    try:
        fresh.replace(target)
    except PermissionError:  # a system that moves no open file
        file.close()
        fresh.unlink(missing_ok=True)
        return FileIO(target, "w+")
    return file


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else "") or str(error)


def _why(error: Exception) -> str:
    return f"lacks {error}" if isinstance(error, KeyError) else f"cannot be read ({error})"
