"""Models in the wrong mode, told as faults. Thresholds are the check's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.verdict import Measure, Suspect

_FEW = 16
"""Samples (count) below which nothing is concluded of what they have in common with others, and"""
_DISTINCT = 0.9
"""share of different ones (ratio) below which they cannot be told apart, and"""
_USED = 0.05
"""share that duplicates explain (ratio): as those of validation_is_untouched."""


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


def in_train_mode(phases: Sequence[Row]) -> list[Row]:
    """Those that run so as a whole."""
    return [p for p in phases if p.integer("in_train_mode") == p.integer("calls")]


def advice_on_modes(dropping: Row | None, wrong: Sequence[Row], *, is_off: bool) -> Iterator[str]:
    """What may be meant.

    Args:
        dropping: dropout that was heard in eval mode.
        wrong: rows of calls in train mode.
        is_off: whether steps are taken in eval mode.
    """
    if dropping is not None:
        yield sampled_by_dropout(dropping)
    if is_off:
        yield "dropout is off in every step: call model.train(), unless that is meant"
    if wrong:
        yield "forwards without gradients run in train mode: if they validate, call model.eval()"


def of_validations(trace: Trace, phases: Sequence[Row], sampled: int, often: int) -> Fault | None:
    """They run in train mode, or with dropout all the same.

    Args:
        trace: of the loop.
        phases: its validations.
        sampled: answers to the same samples from which on they are drawn on purpose.
        often: rows of calls on the same samples as the first that show that these are held out.
    """
    wrong = in_train_mode(phases)
    several = any(each.flag("several_objectives") for each in trace.rows("recipe"))
    if fault := without_eval(wrong, len(phases), sampled):
        return fault
    cuts = () if several else trace.rows("hand_cut")
    if fault := next(
        (f for cut in cuts if (f := without_eval_by_hand(wrong, len(phases), cut, often))), None
    ):
        return fault
    dropping = drops_in_eval(trace.rows("live_dropout"))
    return None if dropping is None else dropout_in_eval(dropping, phases, 0 if several else sampled)


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
    because = f"{len(wrong)} of {count} validations ran in train mode (0 should), over {calls} batches"
    return _eval_is_missing(wrong, because, f"in train mode, first after step {_first(wrong)}")


def without_eval_by_hand(wrong: Sequence[Row], count: int, cut: Row, often: int) -> Fault | None:
    """All validations run in train mode, on samples that no loader gave.

    These are the same held-out ones each time, or are given by a function whose name says that it
    validates. Not told are several answers to one input, samples that are trained on, and inputs of a
    model whose own never come again: these may be noise that is drawn, and so may the others.

    Args:
        wrong: those in train mode.
        count: how many there are in all.
        cut: the rows of calls on the same inputs.
        often: rows like the first from which on these inputs are held out on purpose.
    """
    samples, told = cut.integer("samples"), cut.integer("distinct")
    if not wrong or len(wrong) < count or cut.integer("repeats"):
        return None
    are_many = not told or told >= _DISTINCT * samples
    if are_many and (name := cut.text("validator")) and cut.integer("rows") > often:
        because = f"{len(wrong)} of {count} validations, in `{name}`, ran in train mode (0 should)"
        finding = f"`{name}` runs in train mode, first after step {_first(wrong)}"
        return _eval_is_missing(wrong, because, finding, f"at the beginning of `{name}`")
    if cut.integer("again") < often or cut.integer("trained_again") < _FEW:
        return None
    if samples < _FEW or told < _DISTINCT * samples:
        return None
    if cut.integer("trained") > _USED * told:
        return None
    rows, same = cut.integer("rows"), cut.integer("again") + 1
    because = (
        f"{len(wrong)} of {count} validations ran in train mode (0 should), {same} of them on the "
        "same samples, which are not trained on"
    )
    finding = f"in train mode, in {rows} rows of calls from step {_first(wrong)} on"
    return _eval_is_missing(wrong, because, finding)


def _eval_is_missing(
    wrong: Sequence[Row], because: str, finding: str, where: str = "before the validation"
) -> Fault:
    """These validations ran in train mode."""
    return Fault(
        because=because,
        measures=(Measure("validations in train mode", len(wrong), "count", 0),),
        suspects=(Suspect("", finding),),
        cause=f"model.eval() is missing {where}",
        remedy="call model.eval() before it and model.train() after it",
    )


def _first(wrong: Sequence[Row]) -> int:
    return wrong[0].integer("steps")


def drops_in_eval(rows: Sequence[Row]) -> Row | None:
    """The model of which dropout was heard in eval mode, in most of the evaluations that were heard."""
    return next((row for row in rows if 2 * row.integer("dropping") > row.integer("calls")), None)


def dropout_in_eval(row: Row, phases: Sequence[Row], sampled: int) -> Fault | None:
    """Dropout that does not know of eval mode; None where ``sampled`` answers are drawn to an input."""
    if max(row.integer("answers"), *(phase.integer("repeats", 1) for phase in phases), 0) >= sampled:
        return None
    operation, line = row.text("operation"), row.text("line")
    where = f"{operation} at {line}" if line else operation
    if beside := row.text("beside"):
        return _out_of_reach(row, beside, where)
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


def _out_of_reach(row: Row, beside: str, where: str) -> Fault:
    """Dropout of a layer that no module holds."""
    model = row.text("model")
    return Fault(
        because=(
            f"dropout ran in {row.integer('dropping')} of {row.integer('calls')} evaluations of {model} "
            f"that were listened to, in a layer that none of its modules holds"
        ),
        measures=(Measure("evaluations with dropout", row.integer("dropping"), "count", 0),),
        suspects=(Suspect(beside, f"is not put in eval mode: units are zeroed at random by {where}"),),
        cause=f"{beside} is called within {model}, in none of its modules: eval() does not reach it",
        remedy="hold it in nn.ModuleList or nn.ModuleDict, or as an attribute of the model",
    )


def sampled_by_dropout(row: Row) -> str:
    """Dropout in eval mode that may be meant, as advice."""
    return (
        f"dropout runs in eval mode ({row.text('operation')} at {row.text('line')}): fine if the model "
        "samples on purpose; if not, pass training=self.training"
    )
