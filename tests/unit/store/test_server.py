"""A history on a PostgreSQL server: one that is not there, and many sessions at once."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import text

from pytest_dlcheck.store.database import opened
from pytest_dlcheck.store.errors import StoreError
from pytest_dlcheck.store.history import counts
from pytest_dlcheck.store.place import place_of
from pytest_dlcheck.store.writing import append
from tests.store_kit import entry, run


@pytest.fixture
def place(server, tmp_path, request):
    return place_of(server.fresh(request.node.name), tmp_path)


def test_sessions_that_begin_at_once_make_one_history_and_lose_nothing(place):
    errors = []

    def session(number):
        try:
            with opened(place, make=True) as database:
                for turn in range(10):
                    entries = [entry(1.0, recipe=f"r{i}") for i in range(4)]
                    append(database, run(f"{number}-{turn}"), entries[:: -1 if number % 2 else 1])
        except StoreError as error:
            errors.append(error)

    threads = [threading.Thread(target=session, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with opened(place) as database:
        assert (
            counts(database) == dict.fromkeys(range(1, 5), 60) or sum(counts(database).values()) == 240
        )


def test_a_wrong_password_is_told_without_it(server, tmp_path):
    place = place_of(server.url.replace("s3cret%2Fcanary", "wr0ng%2Fcanary"), tmp_path)
    with pytest.raises(StoreError) as raised, opened(place, make=True):
        pass
    message = str(raised.value)
    assert message.startswith(f"the history postgresql://127.0.0.1:{server.port}/postgres cannot be ")
    assert "canary" not in message
    assert "see to the server" in message


def test_a_server_that_is_not_there_is_named(tmp_path):
    place = place_of("postgresql://ann:canary@127.0.0.1:1/ci", tmp_path)
    said = r"the history postgresql://127\.0\.0\.1:1/ci cannot be "
    with pytest.raises(StoreError, match=said) as raised, opened(place, make=True):
        pass
    assert "canary" not in str(raised.value)


def _goes_away(server, database):
    with database.writing() as connection:
        connection.execute(text("DELETE FROM dlcheck_measures"))
        server.stop()
        connection.execute(text("SELECT 1"))


def test_a_server_that_goes_away_midway_is_an_error_and_nothing_half_is_left(server, tmp_path):
    with opened(place_of(server.fresh("goes_away"), tmp_path), make=True) as database:
        append(database, run("before"), [entry(1.0)])
        with pytest.raises(StoreError, match="cannot be written"):
            _goes_away(server, database)
        server.start()
        assert sum(counts(database).values()) == 1


def test_a_schema_of_ones_own_can_be_named_in_the_address(server, tmp_path):
    url = server.fresh("schemas")
    with opened(place_of(url, tmp_path), make=True) as database, database.writing() as connection:
        connection.execute(text("CREATE SCHEMA mine"))
        append(database, run("u"), [entry(1.0)])
    own = place_of(f"{url}?options=-csearch_path%3Dmine", tmp_path)
    with opened(own, make=True) as database:
        assert counts(database) == {}
