"""Optimizers and models that are built anew inside the loop, told as faults."""

from __future__ import annotations

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect

WHOLE = 4
"""Backward passes of a step (count) from which on it is a training of its own, as one of LBFGS is."""
SOME = 0.5
"""Share of models, or optimizers (ratio), that go on from what was there, from which on it is meant."""
_ONCE = "create model and optimizer once, before the loop"


def told(row: Row, bound: float) -> tuple[str, Measure]:
    """How many optimizers there were, in words and as a measure.

    Args:
        row: of the loop.
        bound: optimizers (count) that are tolerated.
    """
    steps, count = row.integer("steps"), row.integer("optimizers")
    story = f"{count} optimizers in {steps} steps over the same parameters (at most {bound:g})"
    return story, Measure("optimizers over the same parameters", count, "count", bound)


def optimizers(row: Row, bound: float) -> Fault | None:
    """An optimizer that is created inside the loop; None where there are no more than the bound."""
    steps, count = row.integer("steps"), row.integer("optimizers")
    if count <= bound or _are_set_back(row):
        return None
    story, measure = told(row, bound)
    return Fault(
        because=story,
        measures=(measure,),
        suspects=[Suspect("optimizer", f"built anew {count} times in {steps} steps")],
        cause="the optimizer is created anew inside the loop: momentum and step counts are lost",
        remedy="create it once, before the loop",
    )


def _are_set_back(row: Row) -> bool:
    """Whether parameters are loaded as often: clients take turns in one model."""
    return row.integer("loads", 0) >= SOME * row.integer("optimizers")


def models(row: Row, few: int, short: int) -> Fault | None:
    """More than a few models, none of which is stepped more often than ``short`` times.

    Copies of one, a step each, are clients or tasks; and a step that evaluates its closure again and
    again is a whole training.
    """
    count, most = row.integer("strands"), row.integer("most_steps")
    if count <= few or most > short or row.integer("overlooked_most", 0) > short:
        return None
    steps = count * most + row.integer("overlooked")
    is_whole = row.integer("backwards") > WHOLE * steps
    if is_whole or row.integer("kin", 0) >= SOME * (count - 1):
        return None
    more = " and more" if row.integer("overlooked") else ""
    return Fault(
        because=f"{count} models{more} were trained, none for more than {short} steps",
        measures=(Measure("models", count, "count", few),),
        suspects=[Suspect("", f"built anew {count} times")],
        cause="the model is created anew inside the loop: what it has learned is lost",
        remedy=_ONCE,
    )


def models_dropped(row: Row, few: int) -> Fault | None:
    """A few equal models or more that were trained one after the other, and only the last is used."""
    count, steps = row.integer("dropped"), row.integer("steps")
    if count < few or not row.flag("then_used"):
        return None
    return Fault(
        because=(
            f"{count} models of one shape were trained in a row, {steps} steps each, once over the same "
            f"data, and dropped unused (fewer than {few} are tolerated); the next one is used"
        ),
        measures=(Measure("models that are trained and dropped", count, "count", few, "<"),),
        suspects=[Suspect("", f"re-created every {steps} steps, with a new optimizer")],
        cause="a new model is built in every epoch: what the epochs before have learned is lost",
        remedy=_ONCE,
    )


def in_epochs(row: Row, several: int) -> Fault | None:
    """What an epoch has learned is lost in the next, to another model, or other numbers in it."""
    return _models_in_epochs(row, several) or _drawn_anew(row, several)


def _drawn_anew(row: Row, several: int) -> Fault | None:
    """Between the passes over a loader, all parameters become others, and one optimizer steps on.

    Not where they are loaded: members of an ensemble, or clients, may take turns in one module.
    """
    count, passes = row.integer("drawn_anew"), row.integer("trained_passes")
    if count < max(several, passes - 1) or row.integer("loads", 0) >= count:
        return None
    return Fault(
        because=(
            f"{count} of {passes} passes over the training data begin with other parameters than were "
            f"evaluated after the one before, in all directions (fewer than {several} may)"
        ),
        measures=(Measure("passes with parameters drawn anew", count, "count", several, "<"),),
        suspects=[Suspect("", "drawn anew in every epoch, while its optimizer stays")],
        cause="the parameters are reset in every epoch: what the epochs before have learned is lost",
        remedy="initialise the model once, before the loop",
    )


def _models_in_epochs(row: Row, several: int) -> Fault | None:
    """Several models, each built anew in what the loop counts as the next epoch; told of the first."""
    count, steps, name = row.integer("rebuilt"), row.integer("steps"), row.text("epoch")
    if count < several or not row.flag("rebuilt_first"):
        return None
    return Fault(
        because=(
            f"{count} models of one shape were drawn anew and trained once over the same data each, "
            f"{steps} steps, while {name!r} went up by one from each to the next (fewer than {several} "
            "may)"
        ),
        measures=(Measure("models, one an epoch", count, "count", several, "<"),),
        suspects=[Suspect("", f"built anew in every epoch, every {steps} steps, with its optimizer")],
        cause="a new model is built in every epoch: what the epochs before have learned is lost",
        remedy=_ONCE,
    )
