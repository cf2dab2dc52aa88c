"""Which class a loss wants of each row, held against the row itself. Nothing is judged."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.losses.calls import CLASSES, LossCall

_TWO = 2
_FILLED = -1e4
"""Logits that low are written, not computed: float16 ends at -65504, masks use -1e4, -1e9 and -inf."""


def of_matches(call: LossCall) -> dict[str, Any]:
    """How the classes that are wanted stand in the rows of one call.

    Returns:
        ``masked``: the share of rows whose wanted class was filled with a constant; for square rows,
        each of which wants a class of its own: ``one_to_one``, the share of classes that some row ranks
        first, and ``matched``, the share of rows that rank the wanted class first. For soft targets
        ``least_sum`` and ``most_sum`` of their rows.
    """
    outputs, targets = call.outputs.detach(), call.targets.detach()
    if call.kind not in CLASSES or outputs.dim() < _TWO or not targets.numel():
        return {}
    if targets.is_floating_point():
        return _sums(outputs, targets)
    rows = outputs.movedim(1, -1).reshape(-1, outputs.size(1))
    wanted = targets.reshape(-1)
    if len(wanted) != len(rows):
        return {}
    kept = wanted != call.options.get("ignore_index", -100)
    rows, wanted = rows[kept], wanted[kept]
    if not len(rows) or int(wanted.min()) < 0 or int(wanted.max()) >= rows.size(1):
        return {}
    return {**_masked(rows, wanted), **_pairs(rows, wanted)}


def _masked(rows: Tensor, wanted: Tensor) -> dict[str, Any]:
    found = rows.gather(1, wanted[:, None].long())[:, 0]
    low = found <= _FILLED
    constant = bool(low.any()) and len(torch.unique(found[low])) == 1
    return {"masked": float(low.double().mean()) if constant else 0.0}


def _pairs(rows: Tensor, wanted: Tensor) -> dict[str, Any]:
    count = len(rows)
    if rows.size(1) != count or len(torch.unique(wanted)) != count:
        return {}
    first = rows.argmax(1)
    return {
        "pairs": count,
        "one_to_one": len(torch.unique(first)) / count,
        "matched": float((first == wanted).double().mean()),
    }


def _sums(outputs: Tensor, targets: Tensor) -> dict[str, Any]:
    if outputs.shape != targets.shape:
        return {}
    sums = targets.double().sum(1)
    return {"least_sum": float(sums.min()), "most_sum": float(sums.max())}
