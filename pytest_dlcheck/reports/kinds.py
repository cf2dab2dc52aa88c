"""The kinds of reports: their names, places and needs. Each is rendered from a journal, by its module.

A module is looked up when its report is made, so that nobody pays for a kind that was not asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from pytest_dlcheck.reports import files
from pytest_dlcheck.reports.contents import Contents
from pytest_dlcheck.reports.errors import ReportError

Place = Literal["file", "folder", "address"]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of report.

    Attributes:
        name: what it is asked for by; also the name of its module here, which holds
            ``write(contents, path)``. It is given text instead of a path where it is an address.
        default: where it is put where no place is named.
        place: whether that is a file, a folder, or an address that only its library understands.
        variable: the environment variable that names another default, where it is set.
        needs: the package that it takes and that is not always installed.
    """

    name: str
    default: str
    place: Place = "file"
    variable: str = ""
    needs: str = ""


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            Kind("html", "dlcheck.html"),
            Kind("markdown", "dlcheck.md", variable="GITHUB_STEP_SUMMARY"),
            Kind("mlflow", "", "address", needs="mlflow"),
            Kind("openmetrics", "dlcheck.openmetrics.txt"),
            Kind("tensorboard", "dlcheck-tensorboard", "folder", needs="tensorboard"),
        )
    }
)
JOURNAL = "json"
"""The kind that is the journal itself."""
VALID = tuple(sorted({JOURNAL, *KINDS}))


@dataclass(frozen=True, slots=True)
class Request:
    """A report that is asked for.

    Attributes:
        kind: a name among :data:`VALID`.
        where: the place as it was named; empty for the kind's own default.
    """

    kind: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.where}" if self.where else self.kind


def requested(text: str) -> Request:
    """What ``KIND`` or ``KIND:PATH`` asks for.

    Raises:
        ReportError: there is no such kind, or a package that it needs is not installed.
    """
    name, _, where = text.partition(":")
    if name not in VALID:
        raise ReportError(f"unknown kind {name!r} (valid: {', '.join(VALID)})")
    kind = KINDS.get(name)
    if kind is not None and kind.needs and find_spec(kind.needs) is None:
        extra = f"pip install 'pytest-dlcheck[{name}]'"
        raise ReportError(f"{name} needs the package {kind.needs}, which is not installed: {extra}")
    return Request(name, where)


def place_of(request: Request, folder: Path) -> str:
    """Where a report goes.

    Args:
        request: what is asked for.
        folder: what a relative path starts from.
    """
    kind = KINDS[request.kind]
    where = request.where or os.environ.get(kind.variable, "") or kind.default
    return where if kind.place == "address" else str(folder / Path(where).expanduser())


def prepare(request: Request, folder: Path) -> None:
    """See that a report can be put where it is asked for, before the work that it will tell of.

    Raises:
        ReportError: it cannot.
    """
    kind = KINDS[request.kind]
    if kind.place != "address":
        files.prepare(Path(place_of(request, folder)), folder=kind.place == "folder")


def write(request: Request, contents: Contents, folder: Path) -> str:
    """Render a report.

    Args:
        request: what is asked for.
        contents: what it is rendered from.
        folder: what a relative path starts from.

    Returns:
        Where it was put.

    Raises:
        ReportError: it cannot be written.
    """
    kind = KINDS[request.kind]
    where = place_of(request, folder)
    module = import_module(f"{__package__}.{kind.name}")
    render: Callable[[Contents, str | Path], None] = module.write
    try:
        render(contents, where if kind.place == "address" else Path(where))
    except OSError as error:
        raise ReportError(f"{where} cannot be written: {error.strerror or error}") from None
    return where
