"""Where the loop itself runs: the innermost call that is neither torch's nor the watch's."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

import torch

_NOT_THEIRS = (str(Path(torch.__file__).resolve().parent), str(Path(__file__).resolve().parents[2]))


def line_of_the_loop() -> str:
    """``file.py:42``: where neither torch nor the watch runs; empty where there is no such place."""
    frame = frame_of_the_loop()
    return "" if frame is None else f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


def frame_of_the_loop() -> FrameType | None:
    """The innermost call of what is neither torch nor the watch."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  the cheapest way to the caller's line
    while frame is not None and frame.f_code.co_filename.startswith(_NOT_THEIRS):
        frame = frame.f_back
    return frame
