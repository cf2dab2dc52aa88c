"""Causes as GitHub's annotations: workflow commands, a line each, at the recipe's file and line."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from pytest_dlcheck.finding import by_recipe, problems
from pytest_dlcheck.reports.contents import Contents
from pytest_dlcheck.reports.text import one_line
from pytest_dlcheck.verdict import Outcome

MOST = 10
"""Annotations of one kind that GitHub shows of a step; it drops the others without a word."""
_LONGEST = 1_000
"""Characters of a message: more is not read there."""


def commands(contents: Contents, folder: str = "") -> list[str]:
    """What to print so that GitHub shows the causes beside the code: ``::error file=...,line=...::...``.

    Args:
        contents: what a journal holds.
        folder: where the journal's root lies in the repository; empty for the repository's own root.
    """
    found = []
    for recipe, group in by_recipe(contents.findings).items():
        place = _place(contents, recipe, folder)
        for cause, led_to in problems(group):
            verdict = cause.verdict
            broken = verdict.outcome is Outcome.ERRORED
            title = f"{recipe} does not run" if broken else f"{recipe}::{verdict.check}"
            told = [cause.objection or verdict.because.partition("\n")[0]]
            told += [f"likely cause: {verdict.cause}"] if verdict.cause and not broken else []
            told += [f"remedy: {verdict.remedy}"] if verdict.remedy else []
            told += [f"it explains {len(led_to)} more failed checks"] if led_to else []
            found.append(_command(title, "\n".join(told), place))
    if len(found) <= MOST:
        return found
    rest = f"{len(found) - MOST + 1} more causes are told in the summary of this job"
    return [*found[: MOST - 1], _command("dlcheck", rest, {})]


def commands_here(contents: Contents, root: Path) -> list[str]:
    """The same where GitHub runs this, and nothing anywhere else.

    Args:
        contents: what a journal holds.
        root: the folder that the journal's files are told from.
    """
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return []
    repository = Path(os.environ.get("GITHUB_WORKSPACE") or root)
    inside = root.is_relative_to(repository)
    return commands(contents, root.relative_to(repository).as_posix() if inside else "")


def _place(contents: Contents, recipe: str, folder: str) -> dict[str, str]:
    known = contents.recipes.get(recipe, {})
    file = known.get("file", "")
    if not file:
        return {}
    return {"file": one_line(str(PurePosixPath(folder, file))), "line": str(known.get("line") or 1)}


def _command(title: str, message: str, place: dict[str, str]) -> str:
    properties = {**place, "title": one_line(title)}
    told = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    lines = "\n".join(map(one_line, message.split("\n")))
    return f"::error {told}::{_data(lines[:_LONGEST])}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
