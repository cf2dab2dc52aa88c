"""What a custom Function's backward gives beside differences of its forward, told as rows."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.errors import message_of
from pytest_dlcheck.run.functions.custom import FunctionCall, takes_doubles
from pytest_dlcheck.run.functions.derivative import Comparison, Derivative
from pytest_dlcheck.trace import Row


def differentiated(kind: type[Any], calls: Sequence[FunctionCall], seed: int) -> list[Row]:
    """A row per input that requires grad, in each call; one with ``refused`` where it does not run.

    Args:
        kind: the Function.
        calls: of it, with what it was applied to.
        seed: of the directions.
    """
    rows: list[Row] = []
    for call in calls:
        known = {"function": kind.__name__, "site": call.site, "line": _line(kind)}
        dtype = torch.float64 if takes_doubles(kind, call) else torch.float32
        try:
            found = Derivative(kind, call, dtype, seed).comparisons()
        except Exception as error:  # noqa: BLE001  the user's Function may fail in any way
            rows.append(Row({**known, "refused": message_of(error).splitlines()[0]}))
            continue
        rows += [Row({**known, **_told(kind, call, one, dtype)}) for one in found]
    return rows or [Row(function=kind.__name__, refused="it could not be heard")]


def _told(kind: type[Any], call: FunctionCall, one: Comparison, dtype: torch.dtype) -> dict[str, Any]:
    value = call.arguments[one.argument]
    return {
        "argument": one.argument,
        "name": _name(kind, one.argument),
        "shape": str(tuple(value.shape)) if isinstance(value, Tensor) else "",
        "precision": str(dtype).removeprefix("torch."),
        "error": one.error,
        "rough": one.rough,
        "analytic": one.analytic[0],
        "numeric": one.numeric[0],
        "ratio": one.ratio,
        "flat": one.flat,
        "silent": one.silent,
        "ignores": one.ignores,
        "transposed": one.transposed,
        "identity": one.identity,
        "where_flat": one.where_flat,
        "rectifies": one.rectifies,
        "quantises": one.quantises,
    }


def _name(kind: type[Any], index: int) -> str:
    """The name that its forward gives to that argument."""
    names = list(inspect.signature(kind.forward).parameters)
    names = names[1:] if names and names[0] == "ctx" else names
    return names[index] if index < len(names) else f"argument {index}"


def _line(kind: type[Any]) -> str:
    code = getattr(kind.backward, "__code__", None)
    return f"{Path(code.co_filename).name}:{code.co_firstlineno}" if code is not None else ""
