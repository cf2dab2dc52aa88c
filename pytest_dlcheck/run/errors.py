"""What can stop a trial or an experiment, and how a user's error is told: what, where, what to do."""

from __future__ import annotations

import re
import sys
import traceback
from pathlib import Path
from types import FrameType, TracebackType

import torch
from torch import nn

from pytest_dlcheck.recipe import RecipeError
from pytest_dlcheck.trace import Ending

_OURS = str(Path(__file__).resolve().parents[1])
_TORCH = str(Path(torch.__file__).resolve().parent)
_MESSAGE_LIMIT = 2_000
_NO_MEMORY = re.compile(
    r"can't allocate memory|not enough memory: you tried|std::bad_alloc|[a-z]+ out of memory\b"
    r"|_ALLOC_FAILED\b",
    re.IGNORECASE,
)
"""In the words of torch's allocators, on the CPU (Linux, Windows) and elsewhere, and of CUDA's own."""

OUR_FAULT = "pytest-dlcheck failed here, please report it"


class NotApplicableError(Exception):
    """The recipe's facts rule this trial or experiment out; the message says why."""


class CannotTellError(Exception):
    """This experiment cannot be decided here; the message says why."""


def ending_of(
    error: BaseException, phase: str, step: int | None, model: nn.Module | None, batch: str = ""
) -> Ending:
    """How a trial ended that an error stopped.

    Args:
        error: what was raised.
        phase: what was being done, for example ``"backward"``.
        step: the step in flight, or None.
        model: to name the module in whose forward it was raised.
        batch: the shapes of the batch in flight, in words.
    """
    if isinstance(error, NotApplicableError):
        return Ending("not_applicable", message=str(error))
    module = _innermost_module(error.__traceback__, model)
    where = f"{phase}, in {module}" if module else phase
    if is_out_of_memory(error):
        remedy = "use a smaller batch or model, or another device"
        return Ending(
            "out_of_memory", step, f"{_first_line(error)}; {remedy}", where, user_traceback(error)
        )
    message = message_of(error)
    if batch and not isinstance(error, RecipeError):
        message = f"{message}\nthe batch: {batch}"
    return Ending("raised", step, message, where, user_traceback(error))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether there was no memory left, on whichever device; torch has no one type for it."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and bool(_NO_MEMORY.search(str(error)))


def let_go(error: BaseException | None) -> None:
    """Empty the frames of an error that has been told: they hold tensors, and loaders' workers."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def message_of(error: BaseException) -> str:
    """The error in words: its type unless it is ours, and its message."""
    text = str(error).strip()[:_MESSAGE_LIMIT]
    if isinstance(error, RecipeError):
        return text
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def user_traceback(error: BaseException) -> str:
    """The frames of the user's own files, outermost first; empty when there are none."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((_OURS, _TORCH, "<"))
    ]
    told = "".join(traceback.format_list(frames[-4:])).rstrip()
    for name in {frame.filename for frame in frames}:
        told = told.replace(f'File "{name}"', f'File "{_from_here(name)}"')
    return told


def _from_here(filename: str) -> str:
    """The path without what lies around it: from where we run, or from where it is imported."""
    path = Path(filename)
    imported = sorted(filter(None, sys.path), key=len, reverse=True)
    roots = (root for root in (Path.cwd(), *map(Path, imported)) if path.is_relative_to(root))
    return next((str(path.relative_to(root)) for root in roots), path.name)


def is_ours(error: BaseException) -> bool:
    """Whether it was raised in our own code, not in the user's or in what either of us called."""
    frames = traceback.extract_tb(error.__traceback__)
    told = isinstance(error, RecipeError)  # raised by us, and about the user's code
    return bool(frames) and not told and frames[-1].filename.startswith(_OURS)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _innermost_module(trace: TracebackType | None, model: nn.Module | None) -> str:
    if model is None:
        return ""
    names = {id(module): name for name, module in model.named_modules()}
    found = ""
    while trace is not None:
        found = names.get(id(_self_of(trace.tb_frame)), found)
        trace = trace.tb_next
    return found


def _self_of(frame: FrameType) -> object:
    return frame.f_locals.get("self")
