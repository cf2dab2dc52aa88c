"""Whether a trial of another commit's code ran that code; if not, why. Nothing is judged."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from pytest_dlcheck.plan import PlannedTrial
from pytest_dlcheck.plugin.meaning import names_in, reads_otherwise
from pytest_dlcheck.plugin.redirection import Loaded, Redirection
from pytest_dlcheck.plugin.worktree import Worktree
from pytest_dlcheck.trace import Trace

REMEDY = "have the package in src/ and install it with pip install -e ."
FACT = "not_of_the_other_commit"
"""Under which a child says, in ``unobserved``, why it did not run the other commit's code."""
ELSEWHERE = "a process of its own"
"""Where what goes wrong before a trial begins goes wrong."""
_NAMED = 3
"""Modules that are named; the rest is counted."""
_ERROR = re.compile(
    r"^ *(?:E +|INTERNALERROR> *)?((?:\w+\.)*\w*(?:Error|Exception|Exit)\b.*)$", re.MULTILINE
)
_RAN = ("completed", "diverged", "not_applicable")


def strayed(redirection: Redirection, names: Iterable[str] = ()) -> str:
    """Why what this process has run so far tells nothing of the other commit; empty where it does.

    Args:
        redirection: what is found where.
        names: of the recipe and its fixtures, as its test file and conftest files have them.
    """
    loaded = Loaded.of(redirection, sys.modules)
    if loaded.strays:
        return f"{_some(loaded.strays)} came from the code at hand all the same: {REMEDY}"
    if loaded.copies:
        return f"{_some(loaded.copies)} came from an installed copy, which is of neither: {REMEDY}"
    if loaded.built:
        built = _some(loaded.built)
        return f"{built} was built from the code at hand, and cannot be built for another commit here"
    if not loaded.base:
        return (
            "no module of the repository was loaded: the recipe's own file always comes from the code "
            f"at hand, so {REMEDY}, and import from it what is to be compared"
        )
    if not loaded.changed and (files := _read_otherwise(loaded, redirection, names)):
        return (
            f"of what is run here only {_some(files)} has changed since, and the code at hand's is used "
            "on both sides: move what is to be compared into a module that it imports"
        )
    return ""


def refusal(trace: Trace, worktree: Worktree) -> str:
    """Why a trial does not tell of the other commit; empty where it does."""
    if FACT in trace.unobserved:
        return f"{worktree.label} cannot be compared with: {trace.unobserved[FACT]}"
    if trace.ending.kind in _RAN:
        return ""
    ending = trace.ending
    where = f" ({ending.where})" if ending.where not in {"", ELSEWHERE} else ""
    lacking = (
        f"; its folder lacks the submodules that have changed since: {', '.join(worktree.missing)}"
        if worktree.missing
        else ""
    )
    errors = _ERROR.findall(ending.detail)
    more = f": {errors[-1]}" if errors and errors[-1] not in ending.message else ""
    return f"{worktree.label} could not be run{where}: {ending.message}{more}{lacking}"


def incomparable(planned: PlannedTrial, why: str) -> Trace:
    """The trace of a trial that does not tell of the other commit: nothing of it was observed."""
    return Trace(planned.trial, unobserved=dict.fromkeys(planned.wanted, why))


def _read_otherwise(loaded: Loaded, redirection: Redirection, names: Iterable[str]) -> tuple[str, ...]:
    """The files of both sides that the other commit has otherwise, as far as the recipe uses them."""
    test, used = Path(redirection.test), set(names)
    for file in (test, Path(redirection.to_base(redirection.test))):
        used |= names_in(file, used)
    found = [f for f in loaded.own if reads_otherwise(Path(f), Path(redirection.to_base(f)), used)]
    return tuple(os.path.relpath(file, redirection.head) for file in found)


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(sorted(names)[:_NAMED]) + more
