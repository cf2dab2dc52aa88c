"""Where a history lies: an address's secrets are shown nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_dlcheck.store.errors import StoreError
from pytest_dlcheck.store.place import place_of

ROOT = Path("/root-of-it")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", "/root-of-it/.dlcheck/history.db"),
        ("a/b.db", "/root-of-it/a/b.db"),
        ("/else/b.db", "/else/b.db"),
        ("sqlite:///b.db", "/root-of-it/b.db"),
        ("sqlite:////else/b.db", "/else/b.db"),
        ("it's #1? 100%.db", "/root-of-it/it's #1? 100%.db"),
    ],
)
def test_a_file_is_found_from_the_root(text, path):
    place = place_of(text, ROOT)
    assert (place.path, place.name) == (Path(path), path)


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg", "postgres"])
def test_a_server_is_named_without_what_gets_one_in(scheme):
    place = place_of(f"{scheme}://ann:canary@db.example:5433/ci?sslpassword=canary2", ROOT)
    assert place.path is None
    assert place.name == "postgresql://db.example:5433/ci"
    assert place.url == "postgresql+psycopg://ann:canary@db.example:5433/ci?sslpassword=canary2"
    assert "canary" not in repr(place)


def test_a_drivers_message_is_told_without_the_password():
    place = place_of("postgresql://ann:can%2Fary@db/ci", ROOT)
    assert place.told("cannot log in with can/ary or can%2Fary") == "cannot log in with *** or ***"


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://ann:can/ary@db.example/ci",
        "postgresql://ann:canary@db:port/ci",
        "postgresql://ann:12/canary@db/ci",
        "postgresql://ann:can#ary@db/ci",
        "mysql://ann:canary@db/ci",
        "can@ary://db",
        "sqlite://canary",
    ],
)
def test_an_address_that_cannot_be_read_is_not_repeated(text):
    with pytest.raises(StoreError) as raised:
        place_of(text, ROOT)
    message = str(raised.value)
    assert "canary" not in message.replace("can/ary", "canary").replace("can#ary", "canary")
    assert "postgresql://USER@HOST" in message
