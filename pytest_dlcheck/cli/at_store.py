"""What the commands that ask a history have in common: where it lies, and how it fails."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pytest_dlcheck.store.errors import StoreError
from pytest_dlcheck.store.place import DEFAULT, NOWHERE, Place, place_of

if TYPE_CHECKING:
    from pytest_dlcheck.store.database import Database

VARIABLE = "DLCHECK_STORE"
"""The environment variable that names a history: an address in it is in no list of processes."""


def store_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command take ``--store``."""
    return click.option(
        "--store",
        metavar="URL",
        default="",
        help=f"a path or postgresql://... (default: ${VARIABLE}, else {DEFAULT} in a folder around)",
    )(command)


@contextmanager
def asked(store: str, *, make: bool = False) -> Generator[Database]:
    """The history that a command is about; what goes wrong with it ends the command in one line.

    Args:
        store: the option's value.
        make: whether it is made where there is none.
    """
    from pytest_dlcheck.store.database import opened

    try:
        with opened(_place(store), make=make) as database:
            yield database
    except StoreError as error:
        raise click.ClickException(str(error)) from None


def _place(store: str) -> Place:
    text = store or os.environ.get(VARIABLE, "")
    if text == NOWHERE:
        raise StoreError("none is no history: name one with --store")
    if text:
        return place_of(text, Path.cwd())
    folders = (Path.cwd(), *Path.cwd().parents)
    return place_of("", next((f for f in folders if (f / DEFAULT).is_file()), Path.cwd()))
