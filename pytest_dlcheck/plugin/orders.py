"""What a parent asks of its child and what the child answers: files of JSON in a folder, no pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_dlcheck.plugin.redirection import Redirection
from pytest_dlcheck.plugin.start import REDIRECTION
from pytest_dlcheck.trial import Trial

ORDER, ANSWER, PROGRESS, OUTPUT, STACK = "order.json", "answer.json", "progress", "output", "stack"


@dataclass(frozen=True)
class Order:
    """One trial of one recipe, to be run in a process of its own.

    Attributes:
        node: the id of an item of the recipe.
        file: the test file that it is collected from.
        trial: what to run.
        wanted: the channels and facts that must be recorded.
        timeout: seconds that the trial may take, looked at between steps.
        arguments: the command line of the pytest that asks.
        path: where it finds modules.
        options: values of its options that the command line alone does not give.
        workers: how many test processes share the machine.
        redirection: where the code of another commit lies; None for the code at hand.
    """

    node: str
    file: str
    trial: Trial
    wanted: frozenset[str]
    timeout: float | None
    arguments: tuple[str, ...]
    path: tuple[str, ...]
    options: Mapping[str, Any]
    workers: int
    redirection: Redirection | None = None

    def write(self, folder: Path) -> None:
        """Write it down for the child."""
        other = None if self.redirection is None else self.redirection.to_json()
        own = {"trial": self.trial.to_json(), "wanted": sorted(self.wanted), "redirection": other}
        _write(folder / ORDER, {**vars(self), **own})
        if other is not None:
            _write(folder / REDIRECTION, other)

    @classmethod
    def read(cls, folder: Path) -> Order:
        """The order that :meth:`write` wrote."""
        data = json.loads((folder / ORDER).read_text("utf-8"))
        data["trial"] = Trial.from_json(data["trial"])
        data["wanted"] = frozenset(data["wanted"])
        other = data["redirection"]
        data["redirection"] = None if other is None else Redirection.from_json(other)
        return cls(**data)


def answer(folder: Path, data: Mapping[str, Any]) -> None:
    """Answer, whole or not at all; a later answer replaces it."""
    _write(folder / ANSWER, data)


def answered(folder: Path) -> dict[str, Any] | None:
    """The answer, if there is one yet."""
    try:
        found: dict[str, Any] = json.loads((folder / ANSWER).read_text("utf-8"))
    except FileNotFoundError:
        return None
    return found


class Diary:
    """How far the child has come: told by it, read by its parent while it runs."""

    def __init__(self, folder: Path) -> None:
        self._path, self._read = folder / PROGRESS, 0

    def tell(self, **data: Any) -> None:
        """Add an entry."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(data) + "\n")

    def news(self) -> Iterator[dict[str, Any]]:
        """The entries that were added since this was last asked."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                fresh = file.read()
        except FileNotFoundError:
            return
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            yield json.loads(line)


def _write(path: Path, data: Mapping[str, Any]) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(data, allow_nan=False), encoding="utf-8")
    os.replace(draft, path)  # noqa: PTH105  the same, and a name that says that it replaces
