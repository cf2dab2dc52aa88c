"""What is found of inputs, and of parts of them, to be spoilt by examples."""

from __future__ import annotations

from pytest_dlcheck.trace import Row


def tensor_of(name: str, *, used: bool = True) -> Row:
    """The row of a whole input."""
    return Row(part="tensor", input=name, index=0, kind="float", told=True, used=used)


def axis_of(words: str, **more: str | int | bool) -> Row:
    """The row of parts along one axis that change no output."""
    known: dict[str, str | int | float | bool] = {
        "part": "axis",
        "input": "x",
        "index": 0,
        "words": words,
        "count": 15,
        "size": 16,
        "pattern": "tail",
        "which": "1 to 15",
        "edge": 1.0,
    }
    known |= more
    share = float(known["count"]) / float(known["size"])
    return Row(known, share=share)
