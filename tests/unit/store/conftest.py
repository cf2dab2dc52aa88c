"""A history on each kind of database, and a repository that it is of."""

from __future__ import annotations

import itertools

import pytest

from pytest_dlcheck.store.database import opened
from pytest_dlcheck.store.place import place_of
from tests.store_kit import Repository, Server, server_binaries

_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def server():
    """A PostgreSQL server; without one its tests are skipped."""
    binaries = server_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server is installed here (initdb)")
    pytest.importorskip("psycopg")
    server = Server(binaries)
    yield server
    server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path):
    """Where a history can be made, of each kind."""
    if request.param == "sqlite":
        return place_of("", tmp_path)
    server = request.getfixturevalue("server")
    return place_of(server.fresh(f"history{next(_NUMBERS)}"), tmp_path)


@pytest.fixture
def database(place):
    """An empty history, of each kind."""
    with opened(place, make=True) as database:
        yield database


@pytest.fixture
def file_database(tmp_path):
    """An empty history in a file."""
    with opened(place_of("", tmp_path), make=True) as database:
        yield database


@pytest.fixture
def repository(tmp_path):
    """A git repository without commits."""
    return Repository(tmp_path / "repository")
