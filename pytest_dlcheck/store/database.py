"""Opens a history, in a file or on a server; refuses what is none. All that fails is a StoreError."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import random
from time import monotonic, sleep
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from pytest_dlcheck.store.errors import StoreError
from pytest_dlcheck.store.migrations import MIGRATIONS, Migration, migrate, version_of
from pytest_dlcheck.store.place import Place

PATIENCE = 30
"""Seconds that a session waits for others that write."""
APPLICATION = 0x444C4348
"""What marks an SQLite file as a history: ``DLCH``."""
_TURN = 0.01
"""Seconds at most between two attempts to write."""
_SMALLEST = 512
"""Bytes of SQLite's smallest page: a file that holds less, and something, is none of its."""
_LOCK = 4919_2026
"""The number by which sessions that migrate a server's tables wait for each other."""
_NETWORK = ("nfs", "cifs", "smb", "9p", "fuse.sshfs", "afs", "ncpfs", "lustre", "gpfs", "ceph")
_WRITING = {"dlcheck_writing": True}


@dataclass(frozen=True)
class Database:
    """An open history.

    Args:
        place: where it lies.
        engine: the way in.
    """

    place: Place
    engine: Engine

    @contextmanager
    def reading(self) -> Generator[Connection]:
        """A connection that sees one moment.

        Raises:
            StoreError: it cannot be read.
        """
        with _told(self.place, "read"), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Generator[Connection]:
        """A transaction: what is written in it is there, whole, when this returns, or not at all.

        Raises:
            StoreError: it cannot be written.
        """
        engine = self.engine.execution_options(**_WRITING)
        with _told(self.place, "written"), engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Let go of it."""
        self.engine.dispose()


@contextmanager
def opened(
    place: Place, *, make: bool = False, migrations: Sequence[Migration] = MIGRATIONS
) -> Generator[Database]:
    """A history, brought up to this version; closed at the end.

    Args:
        place: where it lies.
        make: whether it is made where there is none.
        migrations: all there are, in order.

    Raises:
        StoreError: there is none, it is none, it is newer, or it cannot be opened.
    """
    with _told(place, "opened"):
        engine = _file(place, place.path, make=make) if place.path is not None else _server(place)
    database = Database(place, engine)
    try:
        _ready(database, migrations, make=make)
        yield database
    finally:
        database.close()


def _ready(database: Database, migrations: Sequence[Migration], *, make: bool) -> None:
    """Refuse what is no history, or a newer one; bring an older one up to date."""
    place = database.place
    with database.reading() as connection:
        version = _known_version(connection, place)
    if version > len(migrations):
        raise StoreError(
            f"the history {place.name} is of version {version}, and this pytest-dlcheck knows up to "
            f"{len(migrations)}: use a newer one, or another --dlcheck-store"
        )
    if version == 0 and not make:
        raise StoreError(_missing(place))
    if version < len(migrations):
        with database.writing() as connection:
            if place.path is None:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            else:
                connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION}")
            migrate(connection, migrations)
    if place.path is not None and make:
        _write_ahead(database, place.path)


def _known_version(connection: Connection, place: Place) -> int:
    if place.path is None:
        return version_of(connection)
    _refuse_torn(connection, place, place.path)
    mark = connection.exec_driver_sql("PRAGMA application_id").scalar()
    tables = connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar()
    if mark == APPLICATION and tables:
        return version_of(connection)
    if tables or mark:
        raise StoreError(
            f"{place.name} is another program's database, and was left as it is: "
            "name another file with --dlcheck-store"
        )
    return 0


def _refuse_torn(connection: Connection, place: Place, path: Path) -> None:
    """Refuse a file whose last page is not whole, which SQLite itself would go on with."""
    page = int(connection.exec_driver_sql("PRAGMA page_size").scalar() or 1)
    if path.stat().st_size % page:
        raise StoreError(f"the history {place.name} cannot be opened: its end is missing; {_DAMAGED}")


def _file(place: Place, path: Path, *, make: bool) -> Engine:
    try:
        found = path.stat()
    except FileNotFoundError:
        if not make:
            raise StoreError(_missing(place)) from None
        _make_folder(path.parent)
        mode = "rwc"
    else:
        if not stat.S_ISREG(found.st_mode):
            what = "a folder" if stat.S_ISDIR(found.st_mode) else "no file"
            raise StoreError(
                f"the history {place.name} cannot be opened: it is {what}; "
                f"move it away, or name another file with {_NAMED}"
            )
        if 0 < found.st_size < _SMALLEST:
            raise StoreError(f"the history {place.name} cannot be opened: {_DAMAGED}")
        mode = "rw" if make or _is_writable(path) else _untouched(path)
    address = f"{path.resolve().as_uri()}?mode={mode}"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(address, uri=True, timeout=PATIENCE, isolation_level=None)

    engine = create_engine("sqlite+pysqlite://", creator=connect, poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        """One that writes says so at once: later on it may be too late."""
        driver: Any = connection.connection.dbapi_connection
        if connection.get_execution_options().get("dlcheck_writing"):
            _begin_writing(driver)
        else:
            driver.execute("BEGIN")

    return engine


def _begin_writing(driver: sqlite3.Connection) -> None:
    """Take turns with others that write; SQLite's own waiting lets those who came last go first."""
    last = monotonic() + PATIENCE
    driver.execute("PRAGMA busy_timeout = 0")
    while True:
        try:
            driver.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or monotonic() > last:
                raise
            sleep(random() * _TURN)
        else:
            break
    driver.execute(f"PRAGMA busy_timeout = {int(PATIENCE * 1000)}")


def _is_writable(path: Path) -> bool:
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def _untouched(path: Path) -> str:
    """How a file that cannot be written is read: others may be writing it, if their log is there."""
    return "ro" if path.with_name(f"{path.name}-wal").exists() else "ro&immutable=1"


def _make_folder(folder: Path) -> None:
    """Make the folder of a history; one of our own is kept out of version control."""
    if folder.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    if folder.name == ".dlcheck":
        (folder / ".gitignore").write_text("# made by pytest-dlcheck\n*\n", encoding="ascii")


def _write_ahead(database: Database, path: Path) -> None:
    """Let readers and a writer work at once; not on a network's file system, where that loses data."""
    with suppress(SQLAlchemyError), database.engine.connect() as connection:
        driver: Any = connection.connection.dbapi_connection
        with suppress(sqlite3.Error):  # whoever is busy with it will do it
            (mode,) = driver.execute("PRAGMA journal_mode").fetchone()
            if mode != "wal" and not _is_remote(path):
                driver.execute("PRAGMA journal_mode = WAL")


def _is_remote(path: Path) -> bool:
    import psutil

    try:
        parts = psutil.disk_partitions(all=True)
    except (OSError, RuntimeError):
        return False
    around = [part for part in parts if path.resolve().is_relative_to(part.mountpoint)]
    kind = max(around, key=lambda part: len(part.mountpoint)).fstype if around else ""
    return kind.lower().startswith(_NETWORK)


def _server(place: Place) -> Engine:
    try:
        import psycopg  # noqa: F401
    except ImportError:
        raise StoreError(
            f"the history {place.name} needs a driver: pip install 'pytest-dlcheck[postgresql]'"
        ) from None
    url, patience = make_url(place.url), PATIENCE * 1000
    own = url.query.get("options", "")
    return create_engine(
        url,
        poolclass=NullPool,
        connect_args={
            "connect_timeout": 5,
            "application_name": "pytest-dlcheck",
            "tcp_user_timeout": patience,
            "options": f"{own} -c lock_timeout={patience} -c statement_timeout={patience * 4}",
        },
    )


def _missing(place: Place) -> str:
    return (
        f"there is no history at {place.name}: pytest --dlcheck makes one as soon as a gate measures "
        f"something ({_NAMED} names another place)"
    )


_DAMAGED = "it is damaged, or no history: move it away, and a new one is made"
_NAMED = "--dlcheck-store of pytest, --store of dlcheck,"


@contextmanager
def _told(place: Place, doing: str) -> Generator[None]:
    """Turn whatever a file or a driver raises into words."""
    try:
        yield
    except StoreError:
        raise
    except (SQLAlchemyError, sqlite3.Error, OSError, OverflowError) as error:
        cause = getattr(error, "orig", None) or getattr(error, "strerror", None) or error
        said = " ".join(str(cause).split()) or type(cause).__name__
        why = f"{place.told(said)[:500]}; {_remedy(place, said)}"
        raise StoreError(f"the history {place.name} cannot be {doing}: {why}") from None


def _remedy(place: Place, said: str) -> str:
    if place.path is None:
        return "see to the server and what leads to it, or name another --dlcheck-store"
    if "malformed" in said or "not a database" in said:
        return _DAMAGED
    if "locked" in said:
        return "another program holds it: try again when that has ended"
    if "full" in said or "No space" in said:
        return "make room on its disk (dlcheck prune), or name another --dlcheck-store"
    return "see to its permissions, or name another --dlcheck-store"
