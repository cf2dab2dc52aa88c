"""Losses that compare the wrong things, told as faults. Thresholds are the check's."""

from __future__ import annotations

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect


def of_another_batch(row: Row, bound: float) -> Fault:
    """The targets did not come with the inputs."""
    wrong, known = row.integer("misaligned"), row.integer("misaligned") + row.integer("aligned")
    age = row.integer("age")
    far = f"{abs(age)} {'batch' if abs(age) == 1 else 'batches'} {'older' if age > 0 else 'newer'}"
    return Fault(
        because=(
            f"{wrong} of {known} losses compare a batch with the targets of another one, {far} "
            f"(fewer than {bound:g} may)"
        ),
        measures=(Measure("losses with another batch's targets", wrong, "count", bound, "<"),),
        suspects=(Suspect("data", f"the targets are {far} than the inputs"),),
        cause=(
            "inputs and targets come from different batches, as labels of the previous one do: a "
            "variable is kept from the batch before"
        ),
        remedy="take inputs and targets from one batch: for inputs, targets in loader",
    )


def taught(row: Row) -> Fault:
    """A trained network that gives the targets is trained along."""
    count, name = row.integer("taught"), row.text("teacher")
    return Fault(
        because=(
            f"{count} parameters of `{name}`, trained before, get gradients through the targets of the "
            "loss alone (0 should), and its own student's optimizer steps them"
        ),
        measures=(Measure("parameters trained as targets", count, "count", 0),),
        suspects=(
            Suspect(name, "gives the targets, with gradients, and is stepped beside its student"),
        ),
        cause=f"`{name}` gives targets that are not detached: the teacher is pulled towards its student",
        remedy="compute the targets under torch.no_grad(), and leave the teacher out of the optimizer",
    )


def in_another_order(row: Row, bound: float) -> Fault:
    """The targets are those of the batch, given to other samples of it."""
    count, looked = row.integer("permuted"), row.integer("looked")
    return Fault(
        because=(
            f"{count} of {looked} losses compare a batch with its own targets in another order "
            f"(fewer than {bound:g} may)"
        ),
        measures=(Measure("losses with targets in another order", count, "count", bound, "<"),),
        suspects=(
            Suspect(
                "data", "the targets are permuted, the inputs are not: each belongs to another sample"
            ),
        ),
        cause="targets are shuffled, rolled or sorted apart from their inputs",
        remedy="give both one order: x, y = x[order], y[order], or leave both as the loader gives them",
    )
