"""Do the user's own autograd Functions give the derivative of what they compute?"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.custom_functions import FunctionCall, heard, takes_doubles
from pytest_dlcheck.run.derivative import Comparison, Derivative
from pytest_dlcheck.run.errors import NotApplicableError, message_of
from pytest_dlcheck.run.experiment import Experiment
from pytest_dlcheck.run.passage import objectives
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.trace import Row


class CustomBackward(Experiment):
    """Fills ``custom_backward``: a row per input of a custom autograd Function that requires grad."""

    fact = "custom_backward"

    def run(self, rig: Rig) -> Iterable[Row]:
        """Hear the calls of those that the first pass found in the graph, and differentiate them."""
        kinds = rig.first.functions
        if not kinds:
            raise NotApplicableError("the loss goes through no autograd Function of one's own")
        with rig.undisturbed(), torch.enable_grad():
            with heard(rig.model, kinds) as calls:
                for _ in objectives(rig):
                    pass
            return [row for kind in kinds for row in _rows(kind, calls[kind], rig.seed)]


def _rows(kind: type[Any], calls: list[FunctionCall], seed: int) -> list[Row]:
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
    }


def _name(kind: type[Any], index: int) -> str:
    """The name that its forward gives to that argument."""
    names = list(inspect.signature(kind.forward).parameters)
    names = names[1:] if names and names[0] == "ctx" else names
    return names[index] if index < len(names) else f"argument {index}"


def _line(kind: type[Any]) -> str:
    code = getattr(kind.backward, "__code__", None)
    return f"{Path(code.co_filename).name}:{code.co_firstlineno}" if code is not None else ""
