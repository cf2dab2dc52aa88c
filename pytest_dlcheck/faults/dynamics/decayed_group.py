"""Weight decay on the group of biases in the place of that of the weights, told in words."""

from __future__ import annotations

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.verdict import Measure, Suspect

_MATRIX = 2
"""Axes longer than 1 from which on a parameter is a kernel; of two axes, one may be 1: a single unit."""


def misplaced(trace: Trace) -> Fault | None:
    """One optimizer decays biases and scales of norms alone, at least half of all biases that it has.

    The matrices that it trains beside them have none; embeddings and normed matrices are left out, as
    they may go without. Nor is anything exchanged where biases train whose own matrices are frozen.
    """
    if sum(row.integer("group") == 0 for row in trace.rows("optimizer_groups")) != 1:
        return None
    parameters = trace.rows("parameters")
    held = [row for row in parameters if row.flag("requires_grad") and row.integer("optimizers")]
    types = {row.text("name"): row.text("type") for row in trace.rows("modules")}
    decayed = [row for row in held if row.number("weight_decay") > 0]
    biases = [row for row in held if _is_bias(row)]
    matrices = [row for row in held if _is_matrix(row) and not _may_go_without(row, types)]
    are_small = all(not _is_matrix(r) and (_is_bias(r) or "Norm" in _owner(r, types)) for r in decayed)
    if not decayed or not matrices or not are_small:
        return None
    if 2 * sum(map(_is_bias, decayed)) < max(1, len(biases)):
        return None
    beside = {_site(row) for row in matrices}
    of_layers = [row for row in decayed if _is_bias(row) and "Norm" not in _owner(row, types)]
    if not of_layers or 2 * sum(_site(row) in beside for row in of_layers) < len(of_layers):
        return None
    strongest, first = max(row.number("weight_decay") for row in decayed), matrices[0].text("name")
    return Fault(
        f"weight decay acts on {len(decayed)} biases and scales, such as {decayed[0].text('name')}, and "
        f"on 0 of {len(matrices)} weight matrices (all of them expected where biases have it)",
        measures=(Measure("matrices under the weight decay", 0, "count", len(matrices), ">="),),
        suspects=[
            Suspect("optimizer", f"weight_decay={strongest:g} for biases alone", "exchange the groups"),
            Suspect(first, "weight_decay=0"),
        ],
        cause=f"weight_decay={strongest:g} is set for the group of the biases, and 0 for that of the "
        "weights: the wrong group is regularised",
        remedy="give weight_decay to the group of the weight matrices, and 0 to biases and norms",
    )


def _is_matrix(row: Row) -> bool:
    sizes = [int(size) for size in row.text("shape").strip("()").split(",") if size.strip()]
    return sum(size > 1 for size in sizes) >= _MATRIX or (len(sizes) == _MATRIX and max(sizes) > 1)


def _is_bias(row: Row) -> bool:
    return "bias" in row.text("name").rpartition(".")[2] and not _is_matrix(row)


def _owner(row: Row, types: dict[str, str]) -> str:
    """The type of the module that a parameter belongs to; empty where it is not known."""
    return types.get(_site(row), "")


def _may_go_without(row: Row, types: dict[str, str]) -> bool:
    """Whether a matrix is a table, or made of another by torch's parametrizations, which norm it."""
    return "Embedding" in _owner(row, types) or "parametrizations" in _site(row).split(".")


def _site(row: Row) -> str:
    return row.text("name").rpartition(".")[0]
