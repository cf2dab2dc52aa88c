"""Files of reports: each appears whole or not at all, whoever writes beside us. No rendering."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pytest_dlcheck.reports.errors import ReportError

_UNSAFE = re.compile(r"[^A-Za-z0-9_.,=+()\[\] -]")
_RESERVED = re.compile(r"(CON|PRN|AUX|NUL|COM\d|LPT\d)(\..*)?$", re.IGNORECASE)
_LONGEST = 80
"""Characters of a name; a path of several still fits everywhere."""


def write_text(path: Path, text: str) -> None:
    """Write a file in one go; its folder is made if it is not there.

    Halves of surrogate pairs, which no file takes, are written as question marks.

    Args:
        path: the file. A device or a pipe is written to as it is.
        text: what is to stand in it.

    Raises:
        ReportError: it cannot be written.
    """
    write_bytes(path, text.encode("utf-8", errors="replace"))


def write_bytes(path: Path, content: bytes) -> None:
    """The same for bytes."""
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():
            path.write_bytes(content)
            return
        target = path.resolve()  # a link stays one, and what it points to is replaced
        fresh = beside(target)
        try:
            fresh.write_bytes(content)
            fresh.replace(target)
        finally:
            with suppress(OSError):
                fresh.unlink(missing_ok=True)


def append_text(path: Path, text: str) -> None:
    """Write behind what others have written there.

    Raises:
        ReportError: it cannot be written.
    """
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(text.encode("utf-8", errors="replace"))


def prepare(path: Path, *, folder: bool) -> None:
    """See that a report can be put there, before the work that it will tell of.

    Args:
        path: where it is to be; its folder is made.
        folder: whether it is a folder itself.

    Raises:
        ReportError: a folder is where a file is to be, or the other way round, or it cannot be made.
    """
    with _told(path):
        (path if folder else path.parent).mkdir(parents=True, exist_ok=True)
    if not folder and path.is_dir():
        raise ReportError(f"{path} cannot be written: it is a folder")


def safe_name(name: str) -> str:
    """A name for a file or folder on any system, the same every time, and of its own for every name.

    Args:
        name: what it is to stand for, whatever it holds.
    """
    kept = _UNSAFE.sub("_", name).strip(" .")
    if name and kept == name and len(name) <= _LONGEST and not _RESERVED.match(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", errors="surrogatepass")).hexdigest()[:8]
    return f"{kept[:_LONGEST]}-{digest}"


def beside(path: Path) -> Path:
    """A free name in the folder of a path."""
    return path.with_name(f".dlcheck-{os.getpid()}-{secrets.token_hex(4)}")


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileExistsError, NotADirectoryError):
        raise ReportError(f"{path} cannot be written: a file is where a folder is to be") from None
    except OSError as error:
        raise ReportError(f"{path} cannot be written: {error.strerror or error}") from None
    except ValueError as error:  # a NUL in the name
        raise ReportError(f"{str(path)!r} cannot be written: {error}") from None
