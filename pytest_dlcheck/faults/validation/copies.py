"""Copies of the trained model that are evaluated and never follow it. Thresholds are the check's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect

_REMEDY = "update the average from the trained model after every step, or validate that model"


def never_updated(twins: Sequence[Row], still: Sequence[Row], often: int, apart: int) -> Fault | None:
    """Nothing but copies that stand still is validated.

    Args:
        twins: all copies that are evaluated.
        still: those that stand still.
        often: validations, or evaluations on the same input after the first, from which on it shows.
        apart: steps in which a trained model moves.
    """
    if len(still) < len(twins):
        return None
    validated = [
        t for t in still if t.integer("validations") >= often and not t.integer("own_validations")
    ]
    asked = [
        t
        for t in still
        if t.integer("again") >= often and t.flag("was_fresh") and not t.flag("own_calls")
    ]
    for twin in (*validated, *asked):
        count = f"{twin.integer('validations')} validations"
        if twin not in validated:
            count = (
                f"{twin.integer('again') + 1} evaluations on the same input, untrained as it was made"
            )
        steps = twin.integer("steps_between")
        return Fault(
            because=story(twins, still, apart),
            measures=(measure(still),),
            suspects=(
                Suspect(
                    twin.text("model"),
                    f"stands still over {steps} steps and {count}; the trained model is never validated",
                ),
            ),
            cause="the validated model is never updated, or from itself or another that does not train",
            remedy=_REMEDY,
        )
    return None


def never_updated_late(late: Sequence[Row], still: Sequence[Row], apart: int) -> Fault | None:
    """Nothing but averages is evaluated, first after the training, and all are as before it.

    Args:
        late: all copies that are evaluated so.
        still: those that are as they were when the training began.
        apart: steps in which an average has begun to follow.
    """
    if not still or len(still) < len(late):
        return None
    twin = still[0]
    if twin.flag("own_answers") or twin.flag("own_weights") or not twin.flag("is_average"):
        return None
    steps = twin.integer("steps_between")
    return Fault(
        because=(
            f"{len(still)} of {len(late)} copies that are evaluated after the training stand still over "
            f"{apart} steps or more (0 should, unless the trained model is evaluated too)"
        ),
        measures=(Measure("evaluated copies that stand still", len(still), "count", 0),),
        suspects=(
            Suspect(
                twin.text("model"),
                f"stands still over {steps} steps and is evaluated after them, with the weights that "
                "the training began with; the trained model is never evaluated",
            ),
        ),
        cause=(
            "the evaluated copy, a moving average (EMA) perhaps, is never updated, or from itself or "
            "another model that does not train"
        ),
        remedy=_REMEDY,
    )


def called_averages(rows: Sequence[Row], loop: Row, apart: int) -> Fault | None:
    """What the loop calls an average was updated, and is as the training began but for rounding.

    One that nobody has written to may be a reference, or begin late.

    Args:
        rows: all copies that are evaluated, the same one again or one made anew each time.
        loop: the loop's own; of one that was cut short nothing is said, as an average may begin late.
        apart: steps in which an average has begun to follow.
    """
    called = [row for row in rows if row.flag("is_called_average")]
    steps = max((row.integer("steps_between") for row in called), default=0)
    if steps < apart or loop.flag("was_cut_short"):
        return None
    if any(row.flag("moved") for row in called) or not called[-1].flag("is_in_vain"):
        return None
    vain = sum(row.flag("is_in_vain") for row in called)
    kind, of = called[-1].text("model"), f"{vain} of {len(called)}"
    return Fault(
        because=(
            f"{of} models that the loop calls averages, and evaluates, have the weights that the "
            f"training began with, but for rounding, after {steps} steps (0 should after {apart})"
        ),
        measures=(Measure("evaluated averages that stand still", vain, "count", 0),),
        suspects=(
            Suspect(kind, f"called an average, and the same as before the first of {steps} steps"),
        ),
        cause=(
            "the moving average (EMA) follows a copy that was made before, and never the trained model: "
            "it holds the initial weights"
        ),
        remedy=_REMEDY,
    )


def still_late(late: Sequence[Row], still: Sequence[Row]) -> Iterator[str]:
    """Advice on such copies, where they may be references, or the trained model's weights were taken."""
    for twin in still if len(still) == len(late) else ():
        is_told = twin.flag("is_average") and not twin.flag("own_weights")
        if not twin.flag("own_answers") and not is_told:
            yield (
                f"{twin.text('model')} is evaluated after {twin.integer('steps_between')} steps with "
                "the weights that the training began with, and the trained model is not: an average is "
                "to be updated from the trained model; unless it is a reference that stays as it is"
            )


def still_copies(still: Sequence[Row], often: int) -> Iterator[str]:
    """Advice on copies that stand still, and may be meant to."""
    for twin in still:
        again, validations = twin.integer("again"), twin.integer("validations")
        was_made_then = twin.flag("was_fresh") and max(again, validations) >= often
        is_alone = twin.flag("was_copy") and again >= often and not twin.flag("own_calls")
        if was_made_then or is_alone:
            what = "is untrained" if twin.flag("was_fresh") else "was a copy of the model"
            yield (
                f"{twin.text('model')} {what}, is evaluated {max(again + 1, validations)} times and is "
                f"the same after {twin.integer('steps_between')} steps: an average is to be updated "
                "from the trained model; unless it is a reference that stays as it is"
            )


def story(twins: Sequence[Row], still: Sequence[Row], apart: int) -> str:
    """How many stand still."""
    return (
        f"{len(still)} of {len(twins)} copies that are validated stand still over {apart} steps or more "
        "(0 should, unless the trained model is validated too)"
    )


def measure(still: Sequence[Row]) -> Measure:
    """The same as a number."""
    return Measure("validated copies that stand still", len(still), "count", 0)
