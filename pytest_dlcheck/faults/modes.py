"""Models in the wrong mode, told as faults. Thresholds are the check's."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect


def validations(phases: Sequence[Row], several: int, apart: int) -> list[Row]:
    """The rows of forwards without gradients that validate.

    Args:
        phases: all of them, in order.
        several: forwards that make a validation in any case.
        apart: steps since the last row from which on a single forward makes one too, where most single
            ones are so far apart; 0 where none does.
    """
    steps = [phase.integer("steps") for phase in phases]
    gaps = [step - before for step, before in zip(steps, [0, *steps], strict=False)]
    inside = [(p, gap) for p, gap in zip(phases, gaps, strict=True) if p.flag("inside")]
    far = [gap >= apart for p, gap in inside if p.integer("calls") < several]
    are_rare = apart > 0 and 2 * sum(far) > len(far)
    return [p for p, gap in inside if p.integer("calls") >= several or (are_rare and gap >= apart)]


def stuck_in_eval(row: Row, bound: int) -> Fault:
    """Steps are taken in eval mode."""
    first, in_eval = row.integer("in_eval_first"), row.integer("in_eval")
    since = f"from step {first} on" if first else "from the first step on"
    kept = "batch normalisation keeps its old statistics"
    what = kept if row.flag("normalizes") else "dropout is off"
    return Fault(
        because=(
            f"{in_eval} of {row.integer('steps')} steps were taken in eval mode, {since} "
            f"(fewer than {bound} are tolerated)"
        ),
        measures=(Measure("steps in eval mode", in_eval, "count", bound, "<"),),
        suspects=(Suspect("", f"trained in eval mode {since}: {what}"),),
        cause="model.eval() before, and no model.train() after it",
        remedy="call model.train() at the start of every epoch",
    )


def without_eval(wrong: Sequence[Row], count: int, sampled: int) -> Fault | None:
    """All validations run in train mode, some on batches of a loader that is not read ``sampled`` times.

    Args:
        wrong: those in train mode.
        count: how many there are in all.
        sampled: passes over one data set from which on several answers are drawn on purpose.
    """
    if len(wrong) < count:
        return None
    wrong = [
        p
        for p in wrong
        if 2 * p.integer("from_loader") >= p.integer("calls") and p.integer("repeats") < sampled
    ]
    if not wrong:
        return None
    calls = sum(phase.integer("calls") for phase in wrong)
    return Fault(
        because=(
            f"{len(wrong)} of {count} validations ran in train mode (0 should), over {calls} batches"
        ),
        measures=(Measure("validations in train mode", len(wrong), "count", 0),),
        suspects=(Suspect("", f"in train mode, first after step {wrong[0].integer('steps')}"),),
        cause="model.eval() is missing before the validation",
        remedy="call model.eval() before it and model.train() after it",
    )


def drops_in_eval(rows: Sequence[Row]) -> Row | None:
    """The model of which dropout was heard in eval mode, in most of the evaluations that were heard."""
    return next((row for row in rows if 2 * row.integer("dropping") > row.integer("calls")), None)


def dropout_in_eval(row: Row, phases: Sequence[Row], sampled: int) -> Fault | None:
    """Dropout that does not know of eval mode; None where ``sampled`` answers are drawn to an input."""
    if max(row.integer("answers"), *(phase.integer("repeats", 1) for phase in phases), 0) >= sampled:
        return None
    operation, line = row.text("operation"), row.text("line")
    where = f"{operation} at {line}" if line else operation
    site = row.text("culprit")
    is_attention = operation == "scaled_dot_product_attention"
    how = "dropout_p=0.0 when not training" if is_attention else "training=self.training"
    remedy = f"pass {how} there, or use nn.Dropout as a registered module"
    return Fault(
        because=(
            f"dropout ran in {row.integer('dropping')} of {row.integer('calls')} evaluations of "
            f"{row.text('model')} that were listened to, though all its modules were in eval mode"
        ),
        measures=(Measure("evaluations with dropout", row.integer("dropping"), "count", 0),),
        suspects=(Suspect(site, f"units are zeroed at random by {where}", remedy),),
        cause=f"dropout stays active in eval mode: {where} in {site or 'the model itself'}",
        remedy=remedy,
    )


def sampled_by_dropout(row: Row) -> str:
    """Dropout in eval mode that may be meant, as advice."""
    return (
        f"dropout runs in eval mode ({row.text('operation')} at {row.text('line')}): fine if the model "
        "samples on purpose; if not, pass training=self.training"
    )
