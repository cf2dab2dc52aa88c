"""The HTML report: one file, complete in itself, that opens offline. A rendering; it judges nothing."""

from __future__ import annotations

from pathlib import Path

from pytest_dlcheck.reports.contents import Contents
from pytest_dlcheck.reports.files import write_text
from pytest_dlcheck.reports.html.history import History, HistoryPoint
from pytest_dlcheck.reports.html.page import render

__all__ = ["History", "HistoryPoint", "write"]


def write(contents: Contents, path: Path) -> None:
    """Write a session's report; whoever reads ``path`` meanwhile finds the old file or the new one.

    Args:
        contents: what the journal of the session holds, and what was measured before.
        path: the file; its folder is made if it is not there.

    Raises:
        ReportError: it cannot be written; the message names the file and says why.
    """
    write_text(path, render(contents, contents.history))
