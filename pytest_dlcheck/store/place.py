"""Where a history lies: a file or a database, with a name that can be shown. Nothing is opened here."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pytest_dlcheck.store.errors import StoreError

DEFAULT = ".dlcheck/history.db"
NOWHERE = "none"
_POSTGRESQL = re.compile(r"postgres(ql(\+psycopg)?)?://")
_SHOWN = re.compile(r"[\w.-]*")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a history lies.

    Attributes:
        name: what it is called in messages: a path, or an address without user and parameters.
        path: the file of an SQLite database; None for a server.
        url: the address of a server, with all that it takes to get in; never shown.
    """

    name: str
    path: Path | None = None
    url: str = field(default="", repr=False)

    def told(self, message: str) -> str:
        """A driver's message without the password, should it be quoted there."""
        password = urlsplit(self.url).password if self.url else None
        for secret in {password or "", unquote(password or "")} - {""}:
            message = message.replace(secret, "***")
        return message


def place_of(text: str, root: Path) -> Place:
    """The place that an option names.

    Args:
        text: a path, ``sqlite:///path`` or ``postgresql://user@host/database``; empty for the default.
        root: the folder that a relative path starts from.

    Raises:
        StoreError: it is no such address; its text is not repeated, for it may hold a password.
    """
    if _POSTGRESQL.match(text):
        return _server(text)
    if text.startswith("sqlite:///"):
        text = text.removeprefix("sqlite:///")
    elif "://" in text:
        scheme = text.partition("://")[0]
        shown = f"{scheme}://..." if _SHOWN.fullmatch(scheme.replace("+", "")) else "this"
        raise StoreError(
            f"{shown} is no place for a history: give a path, sqlite:///PATH or "
            "postgresql://USER@HOST/DATABASE"
        )
    path = root / (text or DEFAULT)
    return Place(str(path), path)


def _server(text: str) -> Place:
    address = "postgresql+psycopg://" + text.partition("://")[2]
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise StoreError(_UNREADABLE) from None
    database = parts.path.removeprefix("/")
    if not (_SHOWN.fullmatch(database) and re.fullmatch(r"[\w.:-]*", host)) or parts.fragment:
        raise StoreError(_UNREADABLE)
    name = f"postgresql://{host}{f':{port}' if port else ''}/{database}"
    return Place(name, None, address)


_UNREADABLE = (
    "the address of the PostgreSQL server cannot be read: write postgresql://USER@HOST:PORT/DATABASE, "
    "with special characters percent-encoded, and leave the password to PGPASSWORD or ~/.pgpass"
)
