"""The journal: one flushed JSON line per recipe, trace and verdict, as each is reached.

Every other report can be made from it later, also after a crash. ``docs/journal.md`` and
``docs/journal.schema.json`` describe its lines.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from pytest_dlcheck.finding import Finding
from pytest_dlcheck.trace import Trace

VERSION = 1
"""Of the lines' schema; a reader refuses a newer one."""


class JournalError(Exception):
    """A journal cannot be written or read; the message names it and says why."""


class Journal:
    """Writes a journal. What was written is on its way to the disk when :meth:`write` returns.

    Args:
        path: the file, made anew; its folder is made if it is not there.

    Raises:
        JournalError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.error = ""
        """Why it could not be written to its end; empty as long as all is well."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: TextIO | None = path.open("w", encoding="utf-8")
        except OSError as error:
            raise JournalError(f"the journal {path} cannot be written: {error.strerror}") from None
        self.write("journal", {"version": VERSION})

    def write(self, kind: str, data: Mapping[str, Any]) -> None:
        """Append a line. A disk that is full is remembered in ``error``, and nothing is raised."""
        if self._file is None:
            return
        try:
            self._file.write(json.dumps({"kind": kind, **data}, allow_nan=False) + "\n")
            self._file.flush()
        except OSError as error:
            self.error = f"the journal {self.path} ends early: {error.strerror}"
            self.close()

    def close(self) -> None:
        """Close it; later lines are dropped."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:
                self.error = self.error or f"the journal {self.path} ends early: {error.strerror}"


@dataclass
class Contents:
    """What a journal holds.

    Attributes:
        recipes: recipe name -> what was asked of it: ``terms`` and ``checks``.
        traces: recipe name -> its traces, in the order they were run.
        findings: what was concluded, in order.
        notice: what was passed over, such as a torn last line; empty if nothing was.
    """

    recipes: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    traces: dict[str, list[Trace]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    notice: str = ""


def read(path: Path) -> Contents:
    """Read a journal, also one whose writer was killed: a torn last line is noted and left out.

    Raises:
        JournalError: the file cannot be read, is no journal, or is of a newer version.
    """
    contents = Contents()
    for number, line, last in _lines(path):
        try:
            entry = json.loads(line)
            _take(entry, contents)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if last and number > 1:
                contents.notice = f"{path}: the last line is torn and was left out"
                break
            raise JournalError(f"{path} is no journal: line {number} {_why(error)}") from None
    return contents


def _take(entry: Mapping[str, Any], contents: Contents) -> None:
    kind = entry["kind"]
    if kind == "journal":
        if entry["version"] > VERSION:
            raise JournalError(
                f"the journal is of version {entry['version']}, and this pytest-dlcheck reads up to "
                f"{VERSION}: use a newer one"
            )
    elif kind == "recipe":
        contents.recipes[entry["recipe"]] = entry
    elif kind == "trace":
        contents.traces.setdefault(entry["recipe"], []).append(Trace.from_json(entry["trace"]))
    elif kind == "verdict":
        contents.findings.append(Finding.from_json(entry["finding"]))


def _lines(path: Path) -> Iterator[tuple[int, str, bool]]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise JournalError(f"the journal {path} cannot be read: {error.strerror}") from None
    if not lines:
        raise JournalError(f"{path} is no journal: it is empty")
    for number, line in enumerate(lines, 1):
        yield number, line, number == len(lines)


def _why(error: Exception) -> str:
    return f"lacks {error}" if isinstance(error, KeyError) else f"cannot be read ({error})"
