"""A live line while a trial lasts, on terminals only: recipe, trial, step, loss."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from time import monotonic

import pytest

from pytest_dlcheck.trial import Trial

PATIENCE = 1.0
"""Seconds after a trial first told of itself, about a second after it began, until it is talked of."""
_SAVE, _RESTORE, _ERASE = "\x1b7", "\x1b8", "\x1b[K"


class ProgressLine:
    """Draws behind pytest's dots and takes itself back; silent in CI logs, pipes and workers."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        # Asked now, because later it is captured; colours may be forced where there is no cursor.
        self._has_cursor = sys.stdout is not None and sys.stdout.isatty()
        self._began: dict[tuple[str, Trial], float] = {}
        self._drawn = False

    def tell(self, recipe: str, trial: Trial, step: int, loss: float) -> None:
        """A trial has come so far."""
        began = self._began.setdefault((recipe, trial), monotonic())
        if monotonic() - began < PATIENCE or not self._on_a_terminal():
            return
        writer = self._config.get_terminal_writer()
        text = f" {recipe} {trial}: step {step + 1}/{trial.steps}, loss {loss:.4g}"
        room = writer.fullwidth - writer.width_of_current_line - 1
        self._write(f"{_SAVE}{text[: max(0, room)]}{_ERASE}{_RESTORE}")
        self._drawn = True

    def clear(self) -> None:
        """Take the line back."""
        if self._drawn:
            self._write(_ERASE)
            self._drawn = False

    def _write(self, text: str) -> None:
        """Past pytest's capture; and past its writer, because control codes must not count as width."""
        capture = self._config.pluginmanager.get_plugin("capturemanager")
        with nullcontext() if capture is None else capture.global_and_fixture_disabled():
            writer = self._config.get_terminal_writer()
            writer._file.write(text)  # noqa: SLF001
            writer.flush()

    def _on_a_terminal(self) -> bool:
        if hasattr(self._config, "workerinput") or "CI" in os.environ:
            return False
        if self._config.pluginmanager.get_plugin("terminalreporter") is None:
            return False
        return self._has_cursor and self._config.get_terminal_writer().hasmarkup
