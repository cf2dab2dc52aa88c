"""A loop whose steps are out of order, told in words. Thresholds are the check's."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_dlcheck.faults.dynamics.accumulation import accumulates, undivided
from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.faults.loop import resets
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.verdict import Measure, Suspect

SITE = "optimizer"
_AGAINST = 0.5
"""Share of a network's own backward passes (ratio) that point against what another's loss has left,
where that is not meant: 24 to 32 of 32 in generators of six kinds; 5 to 11 of 32 where a gradient is
reversed on purpose, beside the task's own."""


def zero_steps(trace: Trace) -> int:
    """Steps at which all gradients were zero, scaled from the recorded ones to those looked at.

    None of them are steps that no backward came before, or whose gradients came so from backward.
    """
    norms, loop = trace.matrix("gradient_norm"), trace.row("loop")
    rows = [row for step, row in zip(norms.steps, norms.values, strict=True) if step]
    zero = sum(any(v is not None for v in row) and not any(row) for row in rows)
    scaled = round(zero * loop.integer("looked") / len(norms)) if len(norms) else 0
    return max(0, scaled - loop.integer("unreached") - loop.integer("untouched"))


def never_reset(row: Row, count: int, bound: float) -> Fault:
    """Gradients that a step has applied are applied again by the next."""
    return _fault(
        row,
        count,
        bound,
        "kept_gradients",
        "apply gradients that the step before had applied already",
        "zero_grad is missing: nothing resets the gradients between one step and the next backward",
        "call optimizer.zero_grad() once per step, before backward",
    )


def reset_too_early(row: Row, count: int, bound: float) -> Fault:
    """Gradients are reset between a backward and the step, which may come before its own backward."""
    cause = "zero_grad is called between backward and step: the optimizer steps on nothing"
    remedy = "move zero_grad() before backward, or after step"
    if 2 * row.integer("before_backward") >= count:
        cause = "step comes before its backward, and after zero_grad: the optimizer steps on nothing"
        remedy = "call step() after backward: zero_grad(), backward(), step()"
    what = "find no gradient although backward had left one, or every gradient zero"
    return _fault(row, count, bound, "without_gradients", what, cause, remedy)


def stepped_twice(row: Row, count: int, bound: float) -> Fault:
    """A step without a backward since the last."""
    return _fault(
        row,
        count,
        bound,
        "repeated",
        "apply the very gradients of the step before, without a backward in between",
        "the optimizer steps twice on the same gradients",
        "step once per backward",
    )


def one_never_steps(row: Row) -> Fault:
    """One of several optimizers is forgotten."""
    name, steps = row.text("never_stepped"), row.integer("steps")
    return Fault(
        because=f"{name} never stepped (0 steps, 1 or more should be) while another took {steps} steps",
        measures=(Measure("steps of the other optimizer", 0, "count", 1, ">="),),
        suspects=(Suspect(SITE, f"{name}: its parameters have gradients and it never steps"),),
        cause=f"{name} is never stepped: its parameters stay as they were made",
        remedy="call its step() after its backward, or do not build it",
    )


def has_no_turn(row: Row, late: int, soon: int) -> Fault | None:
    """One of several optimizers never steps, and its turn would have come; None where that is not so."""
    steps, is_whole = row.integer("steps"), not row.flag("was_cut_short")
    if row.text("never_stepped") and (is_whole or steps >= soon):
        return one_never_steps(row)
    turn = row.text("unstepped") and is_whole and steps >= late
    return one_never_reached(row, late) if turn else None


def one_never_reached(row: Row, late: int) -> Fault:
    """An optimizer that no backward reaches either, over what makes another network's input."""
    name, steps = row.text("unstepped"), row.integer("steps")
    return Fault(
        because=(
            f"{name} never stepped and had no gradient (0 steps) while another took {steps} steps on "
            f"what it makes (within {late} it has its first)"
        ),
        measures=(Measure("steps of the other optimizer", 0, "count", 1, ">="),),
        suspects=(Suspect(SITE, f"{name}: its model is called, and nothing ever steps it"),),
        cause=f"{name} is never stepped: its turn never comes, and its weights stay as drawn",
        remedy="look at the condition for its turn, and call its backward and step() there",
    )


def _waits_for_its_turn(row: Row, late: int) -> Iterator[str]:
    name, steps = row.text("unstepped") or row.text("never_stepped"), row.integer("steps")
    ended = ", and the loop was cut short" if row.flag("was_cut_short") else ""
    if name:
        yield f"{name} has not stepped in {steps} steps of another (it should within {late}){ended}"


def never_stepped(row: Row, backwards: int) -> Fault:
    """Backward without any step."""
    idle = row.text("never_stepped")
    which = f" ({idle} is there and never steps)" if idle else ""
    return Fault(
        because=f"backward ran {backwards} times, and 0 optimizers stepped (1 or more should){which}",
        measures=(Measure("steps", 0, "count", 1, ">="),),
        suspects=(Suspect(SITE, "never steps, and no parameter changes"),),
        cause="optimizer.step() is missing, or is never reached",
        remedy="call optimizer.step() after backward",
    )


def _fault(row: Row, count: int, bound: float, key: str, what: str, cause: str, remedy: str) -> Fault:
    first, steps = row.integer(f"{key}_first"), row.integer("looked")
    return Fault(
        because=f"{count} of {steps} steps {what} (fewer than {bound:g} are tolerated)",
        measures=(Measure("steps out of order", count, "count", bound, "<"),),
        suspects=(Suspect(SITE, f"{what}, first at step {first}"),),
        cause=cause,
        remedy=remedy,
    )


def by_hand(row: Row, several: int, some: float) -> Fault | None:
    """Parameters are updated by hand, and their gradients are not reset, or clipped too early."""
    return _kept_by_hand(row, several, some) or _clipped_before_backward(row, several)


def _clipped_before_backward(row: Row, several: int) -> Fault | None:
    """All clippings but the odd one find nothing."""
    clips, empty = row.integer("hand_clips"), row.integer("hand_clips_of_none")
    if empty < several or empty < clips - 1:
        return None
    what = "come before the backward: there is nothing to clip"
    return Fault(
        because=f"{empty} of {clips} clippings {what} (fewer than {several} may)",
        measures=(Measure("clippings out of place", empty, "count", several, "<"),),
        suspects=(Suspect(SITE, f"there is none, and clippings {what}"),),
        cause="clip_grad_norm_ is called before any backward: the update by hand applies all of it",
        remedy="clip after backward",
    )


def _kept_by_hand(row: Row, several: int, some: float) -> Fault | None:
    """Nothing resets the gradients."""
    updates, kept = row.integer("hand_updates"), row.integer("hand_kept")
    bound = max(several, some * updates)
    if kept < bound:
        return None
    what = "are followed by a backward that adds to the gradients they have applied"
    return Fault(
        because=f"{kept} of {updates} updates by hand {what} (fewer than {bound:g} are tolerated)",
        measures=(Measure("updates out of order", kept, "count", bound, "<"),),
        suspects=(Suspect(SITE, f"there is none, and updates by hand {what}"),),
        cause="zero_grad is missing: nothing resets the gradients after the update by hand",
        remedy="set p.grad = None (or call model.zero_grad()) after each update",
    )


def scheduler_first(trace: Trace, several: int) -> Fault | None:
    """The scheduler steps before the optimizer does."""
    schedule, steps = trace.row("schedule"), trace.row("loop").integer("steps")
    early, bound = schedule.integer("early"), max(several, steps // 2)
    begins = schedule.integer("before_first") == 1 and not schedule.integer("since_last")
    if early >= bound:
        story = f"{early} of {steps} steps come after the scheduler's own (fewer than {bound} may)"
        measure = Measure("steps after the scheduler's", early, "count", bound, "<")
    elif begins and schedule.integer("steps") >= several:
        story = (
            f"1 of {schedule.integer('steps')} scheduler steps comes before the optimizer's first, and "
            "none after its last (0 should)"
        )
        measure = Measure("scheduler steps before the first step", 1, "count", 0)
    else:
        return None
    return Fault(
        because=story,
        measures=(measure,),
        suspects=(Suspect("scheduler", f"{schedule.text('name')} steps before the optimizer"),),
        cause="scheduler.step() is called before optimizer.step(): the first learning rate is skipped",
        remedy="call scheduler.step() after optimizer.step(), at the end of the step or of the epoch",
    )


def remainder_dropped(row: Row, several: int, some: float) -> Fault | None:
    """The last micro-batches of an epoch are propagated back and thrown away."""
    windows, lost = row.integer("rests"), row.integer("rest_backwards")
    share = lost / max(1, lost + row.integer("looked_backwards"))
    if not accumulates(row) or windows < several or share < some:
        return None
    return Fault(
        because=(
            f"{lost} backward passes ({share:.0%}, at most {some:.0%}) were reset before any step, in "
            f"{windows} rows shorter than the {row.integer('micro_batches')} that a step takes"
        ),
        measures=(Measure("backward passes that no step applies", share, "ratio", some),),
        suspects=(Suspect(SITE, "the micro-batches that remain at the end of an epoch have no step"),),
        cause="the remainder of an epoch is dropped: it is shorter than a window of accumulation",
        remedy="step at the last batch of the epoch too: (i + 1) % n == 0 or i + 1 == len(loader)",
    )


def tangled(row: Row, several: int, some: float) -> Fault | None:
    """Gradients of another optimizer's loss are applied too, and they point the other way."""
    count, steps = row.integer("tangled"), row.integer("steps")
    bound = max(several, some * steps)
    if count < bound or row.integer("opposed") <= _AGAINST * row.integer("directions"):
        return None
    return Fault(
        because=(
            f"{count} of {steps} steps also apply gradients that another optimizer has stepped on, and "
            f"that point the other way (fewer than {bound:g} are tolerated)"
        ),
        measures=(Measure("steps with foreign gradients", count, "count", bound, "<"),),
        suspects=(Suspect(SITE, "gets the gradients of the other's loss as well"),),
        cause="the other's loss is not detached: it leaves gradients here, and nothing resets them",
        remedy="detach the generated batch in the discriminator's loss, and zero_grad() first",
    )


def further(trace: Trace, several: int, some: float, dropped: float) -> Fault | None:
    """What is out of order beside the steps themselves; None where nothing is."""
    row = trace.row("loop")
    return (
        tangled(row, several, some)
        or resets.never_propagated(row, several)
        or resets.each_other(trace, several)
        or remainder_dropped(row, several, dropped)
        or scheduler_first(trace, several)
    )


def order_advice(trace: Trace, late: int) -> Iterator[str]:
    """What is no fault for sure, nor that an optimizer waits which should step by the step ``late``."""
    yield from _waits_for_its_turn(trace.row("loop"), late)
    row = trace.row("loop")
    if count := undivided(trace):
        yield (
            f"{count} micro-batches add up undivided: the step is {count} times that of their mean; "
            f"divide the loss by {count}, unless the learning rate allows for it"
        )
    if accumulates(row) and (count := row.integer("discarded_backwards")):
        is_rest = row.integer("rest_backwards") == count
        last = ", the remainder of each pass over the loader" if is_rest else ""
        yield f"{count} backward passes were reset before any step{last}"
    if row.flag("all_waste"):
        yield (
            "each optimizer's backward also reaches what the other steps, for nothing: detach the "
            "generated batch in the discriminator's loss"
        )
