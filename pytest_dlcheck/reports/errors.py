"""What goes wrong with a report, for whoever asked for it. No rendering."""

from __future__ import annotations


class ReportError(Exception):
    """A report cannot be written; the message names it, says why, and what to do where that is known."""
