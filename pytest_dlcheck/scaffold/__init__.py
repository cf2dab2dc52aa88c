"""First recipe files, written by ``dlcheck init``: each passes, or says what it still wants."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from pytest_dlcheck.scaffold.drafts import Draft, ScaffoldError, nearest

_SHELVES = {"torchvision": "vision", "timm": "vision", "transformers": "language"}
"""Libraries of models by name, and who writes their recipes."""
_FORMS = (
    "write package.module:Model, torchvision:resnet18, timm:NAME, "
    "or transformers:bert (a model type, as in a config.json)"
)


def draft(target: str) -> Draft:
    """A first recipe file for a model; nothing is written.

    Args:
        target: ``package.module:Model`` (a class, or a function that builds the model),
            ``torchvision:NAME``, ``timm:NAME``, ``transformers:MODEL_TYPE`` or ``transformers:Class``.

    Raises:
        ScaffoldError: there is no such model; names the nearest one.
    """
    place, colon, name = target.partition(":")
    if not (colon and place and name.strip()):
        raise ScaffoldError(f"{target!r} names no model: {_FORMS}")
    writer = _SHELVES.get(place, "own")
    if place == "transformers" and name != name.lower():
        writer = "own"
    made: Draft = import_module(f"{__name__}.{writer}").draft(place, name)
    return made


def write(made: Draft, output: Path | None) -> Path:
    """Write a draft to its file, which must not exist.

    Args:
        made: the draft.
        output: where to; by default ``tests/test_<name>_training.py``.

    Raises:
        ScaffoldError: the file exists, or cannot be written.
    """
    path = output or Path("tests") / f"test_{made.name}_training.py"
    if path.suffix != ".py":
        raise ScaffoldError(f"{path} is no name of a Python file: end it in .py")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(made.text)
    except FileExistsError:
        raise ScaffoldError(
            f"{path} exists already, and is not overwritten: give another --output"
        ) from None
    except OSError as error:
        raise ScaffoldError(f"{path} cannot be written: {error.strerror}") from None
    return path


__all__ = ["Draft", "ScaffoldError", "draft", "nearest", "write"]
